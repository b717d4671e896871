#include "worker/evaluate/evaluation.h"

#include <algorithm>
#include <optional>

#include "schemas/error.h"
#include "worker/evaluate/answers.h"
#include "worker/evaluate/chat_templates.h"
#include "worker/evaluate/prompts.h"
#include "worker/generate/batch_decoder.h"
#include "worker/tokenize/utf8.h"

namespace quench::worker {
namespace {

// Completions per lease and per batch: enough rows to fill the lanes of decoding, few enough that a
// lost rank costs little.
constexpr std::uint32_t kLeaseItems = 32;

class CompletionMaker {
 public:
  CompletionMaker(const EvaluateSpec& spec, const ProblemSet& problems, LoadedModel model)
      : spec_(spec), problems_(problems), model_(std::move(model)) {
    eos_ids_ = model_.transformer->config().eos_ids;
    if (const auto eos = model_.tokenizer->eos_id();
        eos && std::find(eos_ids_.begin(), eos_ids_.end(), *eos) == eos_ids_.end())
      eos_ids_.push_back(*eos);
    chat_ = resolved_chat(spec.chat, model_.chat_template);
    for (const TokenId end : chat_end_ids(*model_.tokenizer, chat_)) eos_ids_.push_back(end);
  }

  // In the order of the items.
  std::vector<Completion> make(const std::vector<LeaseItem>& items) {
    const auto token_bytes = [this](std::int32_t token) {
      return model_.tokenizer->is_special(token) ? std::string() : model_.tokenizer->token_bytes(token);
    };
    BatchDecoder decoder(*model_.transformer, token_bytes, {kLeaseItems, 512});
    for (std::size_t i = 0; i < items.size(); ++i) {
      GenerationRequest request;
      request.id = i;
      const Problem& problem = problems_.problems().at(items[i].task);
      const Question question = question_for(spec_, problems_, problem);
      request.prompt = question_tokens(*model_.tokenizer, chat_, question);
      request.max_new_tokens = new_tokens_max(spec_, request.prompt.size());
      request.sampling = {spec_.temperature, spec_.top_k, spec_.top_p};
      request.key = {spec_.seed, items[i].task, items[i].sample};
      request.stop_strings = question.stop_strings;
      request.eos_ids = eos_ids_;
      decoder.add(std::move(request));
    }
    std::vector<Completion> completions(items.size());
    for (Completion& completion : decoder.run()) {
      const std::size_t at = completion.id;
      // Byte-level tokens can end inside a character; a text is what people would read of it.
      completion.text = utf8_lossy(completion.text);
      completions.at(at) = std::move(completion);
    }
    return completions;
  }

 private:
  EvaluateSpec spec_;
  const ProblemSet& problems_;
  LoadedModel model_;
  std::vector<std::int32_t> eos_ids_;
  ChatTemplate chat_ = ChatTemplate::none;
};

std::vector<Verdict> execute(Grader& grader, const EvaluateSpec& spec, const ProblemSet& problems,
                             const std::vector<LeaseItem>& items,
                             const std::vector<Completion>& completions) {
  std::vector<std::string> answers;
  std::vector<Submission> submissions;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Problem& problem = problems.problems().at(items[i].task);
    answers.push_back(answer_in(spec, problems, problem, completions[i].text));
    submissions.push_back(submission_of(spec, problems, problem, answers.back()));
  }
  const std::vector<Execution> executions = grader.grade(submissions);
  std::vector<Verdict> verdicts;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Verdict& verdict = verdicts.emplace_back();
    verdict.task = items[i].task;
    verdict.sample = items[i].sample;
    verdict.result = executions[i].result;
    verdict.completion = answers[i];
    verdict.tokens = static_cast<std::uint32_t>(completions[i].tokens.size());
    verdict.cpu_seconds = static_cast<double>(executions[i].cpu_ms) / 1000.0;
    verdict.detail = executions[i].detail;
    if (const std::string note = empty_answer_note(spec, verdict.tokens); !note.empty())
      verdict.detail = note + (verdict.detail.empty() ? "" : "; " + verdict.detail);
    verdict.isolated = executions[i].isolated;
    verdict.confinement = executions[i].confinement;
  }
  return verdicts;
}

}  // namespace

void run_evaluation(const EvaluateSpec& spec, const std::function<LoadedModel()>& load, Grader& grader,
                    LeaseSource& leases) {
  const ProblemSet problems =
      shipped_problems(benchmark_from_string(spec.benchmark), language_from_string(spec.language));
  BenchmarkInfo info;
  info.digest = problems.digest();
  for (const Problem& problem : problems.problems()) info.task_ids.push_back(problem.task_id);
  leases.describe(info);

  std::optional<CompletionMaker> maker;
  for (;;) {
    const LeaseGrant grant = leases.next_lease(kLeaseItems);
    if (grant.items.empty()) return;
    for (const LeaseItem& item : grant.items)
      if (item.task >= problems.problems().size())
        throw Error(ErrorCode::bad_input, "a lease names task " + std::to_string(item.task) + " of " +
                                              std::to_string(problems.problems().size()));
    if (!maker) maker.emplace(spec, problems, load());
    const std::vector<Completion> completions = maker->make(grant.items);
    leases.return_verdicts({grant.lease, execute(grader, spec, problems, grant.items, completions)});
  }
}

}  // namespace quench::worker
