#include "worker/evaluate/evaluation.h"

#include <algorithm>
#include <optional>

#include "schemas/error.h"
#include "worker/evaluate/completion_cut.h"
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
    for (const std::string_view stop : stop_strings(problems.benchmark())) stops_.emplace_back(stop);
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
      request.prompt =
          model_.tokenizer->encode(completion_prompt(problems_.benchmark(), problem), AddSpecialTokens::yes);
      request.max_new_tokens = spec_.max_tokens;
      request.sampling = {spec_.temperature, spec_.top_k, spec_.top_p};
      request.key = {spec_.seed, items[i].task, items[i].sample};
      request.stop_strings = stops_;
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
  std::vector<std::string> stops_;
};

std::vector<Verdict> execute(Grader& grader, const ProblemSet& problems, const std::vector<LeaseItem>& items,
                             const std::vector<Completion>& completions) {
  std::vector<Submission> submissions;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string_view text = cut_completion(problems.benchmark(), completions[i].text);
    submissions.push_back(
        {&problems.problems().at(items[i].task), SubmissionForm::completion, std::string(text)});
  }
  const std::vector<Execution> executions = grader.grade(submissions);
  std::vector<Verdict> verdicts;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Verdict& verdict = verdicts.emplace_back();
    verdict.task = items[i].task;
    verdict.sample = items[i].sample;
    verdict.result = executions[i].result;
    verdict.completion = submissions[i].text;
    verdict.tokens = static_cast<std::uint32_t>(completions[i].tokens.size());
    verdict.cpu_seconds = static_cast<double>(executions[i].cpu_ms) / 1000.0;
    verdict.detail = executions[i].detail;
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
    leases.return_verdicts({grant.lease, execute(grader, problems, grant.items, completions)});
  }
}

}  // namespace quench::worker
