#include "coordinator/kept_completions.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "coordinator/records.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

std::string described(const ArtifactStore& store, const KeptEvaluation& evaluation) {
  const EvaluateSpec& spec = evaluation.key.spec;
  return fmt::format("{}  {} {}, temperature {}, seed {}, problems {}: {} verdicts",
                     evaluation.digest.short_hex(), spec.benchmark, spec.language, spec.temperature, spec.seed,
                     evaluation.key.benchmark.short_hex(), read_verdicts(store, evaluation.digest).size());
}

}  // namespace

std::vector<KeptEvaluation> kept_evaluations(const ArtifactStore& store, const Digest& artifact) {
  std::vector<KeptEvaluation> found;
  for (const std::string& id : store.list_jobs()) {
    std::vector<quench::JournalEvent> history;
    for (const JournalEvent& event : store.read_journal(id)) history.push_back(decode_journal_event(event.bytes));
    const JobAccepted* const accepted = history.empty() ? nullptr : std::get_if<JobAccepted>(&history.front());
    if (accepted == nullptr) continue;
    std::vector<std::uint32_t> published;
    for (const quench::JournalEvent& event : history) {
      if (const auto* named = std::get_if<ArtifactPublished>(&event); named != nullptr && named->digest == artifact)
        published.push_back(named->artifact);
      const auto* const opened = std::get_if<EvaluationOpened>(&event);
      if (opened == nullptr || opened->evaluation >= accepted->job.evaluate.size() ||
          std::find(published.begin(), published.end(), opened->artifact) == published.end())
        continue;
      KeptEvaluation evaluation;
      evaluation.key = evaluation_key(artifact, opened->benchmark, accepted->job.evaluate[opened->evaluation]);
      evaluation.digest = evaluation_digest(evaluation.key);
      evaluation.task_ids = opened->task_ids;
      if (std::none_of(found.begin(), found.end(),
                       [&](const KeptEvaluation& other) { return other.digest == evaluation.digest; }))
        found.push_back(std::move(evaluation));
    }
  }
  return found;
}

KeptEvaluation choose_evaluation(const ArtifactStore& store, const Digest& artifact,
                                 const CompletionsChoice& choice) {
  const std::vector<KeptEvaluation> all = kept_evaluations(store, artifact);
  std::vector<KeptEvaluation> fitting;
  for (const KeptEvaluation& evaluation : all)
    if ((choice.benchmark.empty() || evaluation.key.spec.benchmark == choice.benchmark) &&
        evaluation.digest.hex().starts_with(choice.evaluation))
      fitting.push_back(evaluation);
  if (fitting.size() == 1) return fitting.front();
  std::string list;
  for (const KeptEvaluation& evaluation : fitting.empty() ? all : fitting)
    list += "\n  " + described(store, evaluation);
  throw Error(ErrorCode::bad_input,
              "artifact " + artifact.short_hex() +
                  (all.empty() ? ": no evaluation of it is kept in this store"
                   : fitting.empty()
                       ? ": none of its evaluations fits --benchmark and --evaluation; it has:" + list
                       : " has several evaluations: choose one with --benchmark or --evaluation:" + list));
}

JobSpec settings_job(const KeptEvaluation& evaluation) {
  JobSpec job;
  job.name = "settings";
  job.model = "/kept";
  job.evaluate = {evaluation.key.spec};
  job.evaluate[0].samples = 1;
  return job;
}

std::string completions_to_json_lines(const ArtifactStore& store, const KeptEvaluation& evaluation) {
  using nlohmann::ordered_json;
  std::string lines;
  for (const Verdict& verdict : read_verdicts(store, evaluation.digest)) {
    if (verdict.task >= evaluation.task_ids.size())
      throw Error(ErrorCode::corrupt, "a kept verdict names task " + std::to_string(verdict.task) + " of " +
                                          std::to_string(evaluation.task_ids.size()));
    ordered_json line;
    line["task_id"] = evaluation.task_ids[verdict.task];
    line["completion"] = verdict.completion;
    line["sample"] = verdict.sample;
    if (!verdict.output.empty()) line["output"] = verdict.output;
    line["benchmark"] = evaluation.key.spec.benchmark;
    line["language"] = evaluation.key.spec.language;
    line["kept_result"] = to_string(verdict.result);
    lines += line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  }
  return lines;
}

}  // namespace quench::coordinator
