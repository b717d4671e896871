#include "worker/evaluate/prompts.h"

#include <algorithm>
#include <array>

#include "schemas/error.h"
#include "worker/evaluate/completion_cut.h"

namespace quench::worker {
namespace {

constexpr std::string_view kWhiteSpace = " \t\n\r\v\f";
// Austin et al. show these; the next one stands in for a shot that is the task itself.
constexpr std::array<std::string_view, 4> kShots{"Mbpp/2", "Mbpp/3", "Mbpp/4", "Mbpp/6"};
constexpr std::size_t kShotsShown = 3;

std::string with_line_feeds(std::string_view text) {
  std::string out;
  std::copy_if(text.begin(), text.end(), std::back_inserter(out), [](char c) { return c != '\r'; });
  return out;
}

std::string lines_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += with_line_feeds(line) + "\n";
  return text;
}

std::string mbpp_task(const Problem& problem) {
  return "You are an expert Python programmer, and here is your task: " + problem.prompt +
         " Your code should pass these tests:\n\n" + lines_of(problem.assertions) + "[BEGIN]\n";
}

std::string three_shot(const ProblemSet& problems, const Problem& problem) {
  std::string text;
  std::size_t shown = 0;
  for (const std::string_view id : kShots) {
    const Problem* shot = problems.find(id);
    if (shown == kShotsShown || shot == nullptr || shot->task_id == problem.task_id) continue;
    text +=
        mbpp_task(*shot) + std::string(stripped(with_line_feeds(shot->canonical_solution))) + "\n[DONE]\n\n";
    ++shown;
  }
  if (shown < kShotsShown)
    throw Error(ErrorCode::bad_input,
                "the problems lack the tasks Mbpp/2, 3, 4 and 6, which the form \"threeShot\" "
                "shows; take the shipped file, or another \"promptForm\"");
  return text + mbpp_task(problem);
}

std::string_view fence_name(Language language) { return language == Language::java ? "java" : "python"; }

// Of our own making, but for EvalPlus's form, whose words are published with its scores.
Question chat_question(const EvaluateSpec& spec, const ProblemSet& problems, const Problem& problem) {
  const std::string fence(fence_name(problems.language()));
  Question question;
  if (spec.prompt_form == PromptStyle::evalplus) {
    question.text =
        "Please provide a self-contained Python script that solves the following problem in a markdown code "
        "block:\n"
        "```\n" +
        std::string(stripped(completion_prompt(problems.benchmark(), problem))) + "\n```\n";
    question.answer_start =
        "Below is a Python script with a self-contained function that solves the problem and passes "
        "corresponding "
        "tests:\n```python\n";
    question.stop_strings = {"\n```\n"};
  } else if (problem.prompt_form == PromptForm::words) {
    question.text = "Solve this task in Python.\n\n" + problem.prompt +
                    "\n\nYour code must pass these tests:\n\n```" + fence + "\n" +
                    lines_of(problem.assertions) +
                    "```\n\nAnswer with the whole code in one markdown code block.\n";
  } else {
    question.text =
        "Complete this function. Answer with the whole function in one markdown code block.\n\n```" + fence +
        "\n" + std::string(stripped(problem.prompt)) + "\n```\n";
  }
  return question;
}

}  // namespace

std::string_view stripped(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kWhiteSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kWhiteSpace) - first + 1);
}

std::string completion_prompt(Benchmark benchmark, const Problem& problem) {
  switch (benchmark) {
    case Benchmark::humaneval:
    case Benchmark::humaneval_plus:
    case Benchmark::multipl_e_humaneval:
    case Benchmark::multipl_e_mbpp:
    case Benchmark::mceval:
      return problem.prompt;
    case Benchmark::mbpp:
    case Benchmark::mbpp_sanitized:
    case Benchmark::mbpp_plus:
      if (!problem.evalplus_prompt.empty()) return problem.evalplus_prompt;
      return "\"\"\"\n" + problem.prompt + "\n" + problem.assertions.front() + "\n\"\"\"\n";
  }
  throw Error(ErrorCode::internal, "a benchmark without a prompt");
}

std::string completion_prompt(const EvaluateSpec& spec, const ProblemSet& problems, const Problem& problem) {
  const std::string native = completion_prompt(problems.benchmark(), problem);
  switch (spec.prompt_form) {
    case PromptStyle::native:
      return native;
    case PromptStyle::stripped:
      return std::string(stripped(native));
    case PromptStyle::three_shot:
      return three_shot(problems, problem);
    case PromptStyle::evalplus:
      return std::string(stripped(native)) + "\n";
  }
  throw Error(ErrorCode::internal, "a form of prompts without a prompt");
}

Question question_for(const EvaluateSpec& spec, const ProblemSet& problems, const Problem& problem) {
  if (spec.chat != ChatTemplate::none) return chat_question(spec, problems, problem);
  return {completion_prompt(spec, problems, problem), {}, stop_strings(spec, problems, problem)};
}

std::uint32_t new_tokens_max(const EvaluateSpec& spec, std::size_t prompt_tokens) {
  if (spec.token_budget == TokenBudget::new_tokens) return spec.max_tokens;
  return prompt_tokens >= spec.max_tokens ? 0 : spec.max_tokens - static_cast<std::uint32_t>(prompt_tokens);
}

}  // namespace quench::worker
