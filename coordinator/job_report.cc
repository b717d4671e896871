#include "coordinator/job_report.h"

#include <optional>

#include "coordinator/fan_out.h"
#include "coordinator/reactor.h"
#include "coordinator/records.h"
#include "schemas/codec.h"

namespace quench::coordinator {
namespace {

ArtifactScore read_artifact(const ArtifactStore& store, const std::string& name, const Digest& digest,
                            double seconds) {
  return describe_artifact(name, digest, decode_manifest(store.get_object(digest).bytes), seconds);
}

EvaluationScore read_score(const ArtifactStore& store, const State& state,
                           const EvaluationProgress& evaluation) {
  const Digest key = evaluation_digest(evaluation_key(state, evaluation));
  return score({state.job.evaluate[evaluation.evaluation], key, evaluation.opened->task_ids,
                read_verdicts(store, key)});
}

// The job states that the store's journals give, those that are readable by this build.
std::vector<State> read_jobs(const ArtifactStore& store) {
  std::vector<State> jobs;
  for (const std::string& id : store.list_jobs()) {
    std::vector<quench::JournalEvent> history;
    for (const JournalEvent& event : store.read_journal(id))
      history.push_back(decode_journal_event(event.bytes));
    if (history.empty()) continue;
    if (const auto* accepted = std::get_if<JobAccepted>(&history.front()))
      jobs.push_back(open_job(accepted->job, job_of_journal(id), accepted->source, 0, history));
  }
  return jobs;
}

}  // namespace

JobReport report_job(const ArtifactStore& store, const State& state) {
  JobReport report;
  report.job_name = state.job.name;
  report.job_id = state.job_id;
  report.model = state.job.model;
  report.ranks = state.job.ranks;
  for (const ArtifactProgress& artifact : state.artifacts) {
    if (!artifact.published)
      throw Error(ErrorCode::failed,
                  "artifact " + artifact.recipe.name + " is not published yet: run the job again");
    report.artifacts.push_back(
        read_artifact(store, artifact.recipe.name, *artifact.published, artifact.quantize_seconds));
    report.seconds += artifact.quantize_seconds;
  }
  for (const EvaluationProgress& evaluation : state.evaluations) {
    if (!evaluation.opened)
      throw Error(ErrorCode::failed, "an evaluation of " + state.artifacts[evaluation.artifact].recipe.name +
                                         " did not begin yet: run the job again");
    report.artifacts[evaluation.artifact].evaluations.push_back(read_score(store, state, evaluation));
  }
  report.comparisons = compare_all(report.artifacts);
  return report;
}

JobReport report_refs(const ArtifactStore& store, const std::vector<std::string>& refs) {
  JobReport report;
  const std::vector<State> jobs = read_jobs(store);
  for (const std::string& ref : refs) {
    const Digest digest = store.resolve(ref);
    const State* maker = nullptr;
    std::size_t index = 0;
    for (const State& job : jobs)
      for (std::size_t i = 0; i < job.artifacts.size(); ++i)
        if (job.artifacts[i].published == digest) {
          maker = &job;
          index = i;
        }
    ArtifactScore& artifact = report.artifacts.emplace_back(
        read_artifact(store, ref, digest, maker ? maker->artifacts[index].quantize_seconds : 0));
    if (maker == nullptr) continue;
    report.job_name = maker->job.name;
    report.job_id = maker->job_id;
    report.model = maker->job.model;
    report.ranks = maker->job.ranks;
    for (const EvaluationProgress& evaluation : maker->evaluations)
      if (evaluation.artifact == index && evaluation.opened)
        artifact.evaluations.push_back(read_score(store, *maker, evaluation));
  }
  report.comparisons = compare_all(report.artifacts);
  return report;
}

}  // namespace quench::coordinator
