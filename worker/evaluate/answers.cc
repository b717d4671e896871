#include "worker/evaluate/answers.h"

#include <algorithm>
#include <optional>

#include "worker/evaluate/completion_cut.h"
#include "worker/evaluate/java_answer.h"
#include "worker/evaluate/prompts.h"

namespace quench::worker {
namespace {

constexpr std::string_view kFence = "```";

// MBPP's answers are whole programs: their prompts are no code, or a docstring that an answer does not need.
bool stands_alone(const Problem& problem) { return problem.prompt_form == PromptForm::words; }

// MultiPL-E's Java tests begin by closing the method.
bool tests_close_function(const Problem& problem) { return stripped(problem.test).starts_with('}'); }

// What stands before a completion in the text that the cut looks at.
std::string text_before(const EvaluateSpec& spec, const ProblemSet& problems, const Problem& problem) {
  return stands_alone(problem) ? std::string() : completion_prompt(spec, problems, problem);
}

std::string up_to_function_end(const EvaluateSpec& spec, const ProblemSet& problems, const Problem& problem,
                               std::string_view completion) {
  const std::string prompt = text_before(spec, problems, problem);
  const std::string source = prompt + std::string(completion);
  const auto end = end_of_function(problems.language(), source, prompt.size(), problem.test);
  if (!end) return std::string(completion);
  const std::size_t at = tests_close_function(problem) ? end->before_brace : end->after;
  return source.substr(prompt.size(), at - prompt.size());
}

std::string_view next_line(std::string_view& rest) {
  const std::size_t end = rest.find('\n');
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return line;
}

bool defines_something(Language language, std::string_view code) {
  if (language == Language::java) return defines_java(code);
  for (std::string_view rest = code; !rest.empty();) {
    const std::string_view line = stripped(next_line(rest));
    if (line.starts_with("def ") || line.starts_with("async def ") || line.starts_with("class ")) return true;
  }
  return false;
}

// Where the last function at the left margin of a prompt begins, and its name.
struct OpenedFunction {
  std::size_t begin = 0;
  std::string name;
};
std::optional<OpenedFunction> opened_function(std::string_view prompt) {
  std::optional<OpenedFunction> found;
  std::size_t decorated = std::string_view::npos;
  for (std::string_view rest = prompt; !rest.empty();) {
    const std::size_t begin = prompt.size() - rest.size();
    const std::string_view line = next_line(rest);
    const bool is_function = line.starts_with("def ") || line.starts_with("async def ");
    if (line.starts_with('@')) decorated = std::min(decorated, begin);
    if (is_function) {
      const std::size_t name = line.find("def ") + 4;
      found = {std::min(decorated, begin), std::string(stripped(line.substr(name, line.find('(') - name)))};
    }
    if (!line.starts_with('@')) decorated = std::string_view::npos;
  }
  return found;
}

bool defines(std::string_view code, const std::string& name) {
  for (std::string_view rest = code; !rest.empty();) {
    const std::string_view line = next_line(rest);
    for (const char* keyword : {"def ", "async def "})
      if (line.starts_with(keyword + name) && stripped(line.substr((keyword + name).size())).starts_with('('))
        return true;
  }
  return false;
}

std::string chat_program(const EvaluateSpec& spec, const Problem& problem, const std::string& code) {
  if (language_from_string(spec.language) == Language::java) return java_chat_program(problem.prompt, problem.test, code);
  if (stands_alone(problem) || spec.prompt_form == PromptStyle::evalplus) return code;
  const auto opened = opened_function(problem.prompt);
  if (!opened || !defines(code, opened->name)) return problem.prompt + code;  // the body alone
  // Such an import must come first, and what a prompt imports an answer with it repeats.
  if (code.find("from __future__") != std::string::npos) return code;
  return problem.prompt.substr(0, opened->begin) + code;
}

}  // namespace

std::string empty_answer_note(const EvaluateSpec& spec, std::size_t tokens) {
  if (tokens > 0) return {};
  std::string note = "nothing was generated: the model ended its text at once";
  if (spec.token_budget == TokenBudget::including_prompt)
    note += ", or the prompt fills the budget of " + std::to_string(spec.max_tokens) + " tokens";
  return note;
}

GraderOptions grader_options(const EvaluateSpec& spec, int sandboxes) {
  GraderOptions options = options_for(benchmark_from_string(spec.benchmark), language_from_string(spec.language));
  options.sandboxes = sandboxes;
  if (spec.sandbox == SandboxKind::landlock) options.weakest = Confinement::landlock;
  if (spec.timeout_seconds > 0) options.limits.cpu_ms = spec.timeout_seconds * 1000;
  return options;
}

std::string code_block(Language language, std::string_view text) {
  std::optional<std::string> first, code;
  bool is_inside = false;
  std::string block;
  const auto close = [&] {
    if (!first) first = block;
    if (!code && defines_something(language, block)) code = block;
    block.clear();
  };
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = next_line(rest);
    if (const std::string_view fence = stripped(line); fence.starts_with(kFence)) {
      // One that names a language opens a block. It does so inside of one too: the first words of the answer
      // may have opened it, and a model that does not see them (behind an endpoint) opens its own.
      const bool opens = fence.size() > kFence.size();
      if (is_inside && !(opens && stripped(block).empty())) close();
      is_inside = opens || !is_inside;
    } else if (is_inside) {
      block.append(line).append("\n");
    }
  }
  if (is_inside) close();
  return code ? *code : first ? *first : std::string(text);
}

FunctionWatch watch_of(const EvaluateSpec& spec, const ProblemSet& problems, const Problem& problem) {
  return {problems.language(), text_before(spec, problems, problem), problem.test};
}

std::string answer_in(const EvaluateSpec& spec, const ProblemSet& problems, const Problem& problem,
                      std::string_view generated) {
  if (spec.chat != ChatTemplate::none) {
    // The stop strings of chats only spare tokens: the block's end is found here.
    return code_block(problems.language(), question_for(spec, problems, problem).answer_start + std::string(generated));
  }
  const std::string_view completion = cut_completion(stop_strings(spec, problems, problem), generated);
  if (spec.cut == CompletionCut::first_function)
    return up_to_function_end(spec, problems, problem, completion);
  return std::string(completion);
}

Submission submission_of(const EvaluateSpec& spec, const ProblemSet& problems, const Problem& problem,
                         std::string_view answer) {
  const std::string text(answer);
  if (spec.chat != ChatTemplate::none)
    return {&problem, SubmissionForm::solution, chat_program(spec, problem, text)};
  // The grader puts the problem's own prompt before a completion.
  if (spec.prompt_form == PromptStyle::native || stands_alone(problem))
    return {&problem, SubmissionForm::completion, text};
  return {&problem, SubmissionForm::solution, completion_prompt(spec, problems, problem) + text};
}

}  // namespace quench::worker
