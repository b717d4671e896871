#include "coordinator/job_report.h"

#include <optional>
#include <set>

#include "coordinator/fan_out.h"
#include "coordinator/reactor.h"
#include "coordinator/records.h"
#include "schemas/codec.h"

namespace quench::coordinator {
namespace {

// Reads artifacts one by one and remembers which chunks they share.
class ArtifactReader {
 public:
  explicit ArtifactReader(const ArtifactStore& store) : store_(store) {}

  ArtifactScore read(const std::string& name, const Digest& digest, double seconds) {
    const Manifest manifest = decode_manifest(store_.get_object(digest).bytes);
    require_model(manifest, name);
    for (const TensorRecord& tensor : manifest.tensors) {
      for (const ChunkRef& chunk : tensor.chunks) count(chunk);
      count(tensor.permutation);
    }
    for (const FileRecord& file : manifest.files) count(file.chunk);
    return describe_artifact(name, digest, manifest, seconds);
  }
  std::uint64_t distinct_bytes() const { return distinct_bytes_; }

 private:
  void count(const ChunkRef& chunk) {
    if (!chunk.digest.is_none() && seen_.insert(chunk.digest).second) distinct_bytes_ += chunk.bytes;
  }

  const ArtifactStore& store_;
  std::set<Digest> seen_;
  std::uint64_t distinct_bytes_ = 0;
};

EvaluationScore read_score(const ArtifactStore& store, const State& state,
                           const EvaluationProgress& evaluation, std::span<const std::uint32_t> ks) {
  const Digest key = evaluation_digest(evaluation_key(state, evaluation));
  EvaluationScore result =
      score({state.job.evaluate[evaluation.evaluation], key, evaluation.opened->benchmark,
             evaluation.opened->task_ids, read_verdicts(store, key)},
            ks);
  result.usage = read_usage(store, state.job_id, evaluation.artifact, evaluation.evaluation);
  return result;
}

void describe_job(JobReport& report, const State& state) {
  report.job_name = state.job.name;
  report.job_id = state.job_id;
  report.model = state.job.model;
  report.ranks = state.job.ranks;
  report.calibration = state.job.calibration;
  if (!state.job.protocol.empty()) report.protocol = state.job.protocol;
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

JobReport report_job(const ArtifactStore& store, const State& state, std::span<const std::uint32_t> ks) {
  JobReport report;
  describe_job(report, state);
  ArtifactReader reader(store);
  for (std::uint32_t index = 0; index < state.artifacts.size(); ++index) {
    const ArtifactProgress& progress = state.artifacts[index];
    if (!progress.published)
      throw Error(ErrorCode::failed,
                  "artifact " + progress.recipe.name + " is not published yet: run the job again");
    ArtifactScore& artifact = report.artifacts.emplace_back(
        reader.read(progress.recipe.name, *progress.published, progress.quantize_seconds));
    artifact.model = state.job.model;
    artifact.calibration_spec = state.job.calibration;
    artifact.usage = read_usage(store, state.job_id, index, kNoEvaluation);
    report.seconds += progress.quantize_seconds;
  }
  for (const EvaluationProgress& evaluation : state.evaluations) {
    if (!evaluation.opened)
      throw Error(ErrorCode::failed, "an evaluation of " + state.artifacts[evaluation.artifact].recipe.name +
                                         " did not begin yet: run the job again");
    report.artifacts[evaluation.artifact].evaluations.push_back(read_score(store, state, evaluation, ks));
  }
  report.distinct_bytes = reader.distinct_bytes();
  report.comparisons = compare_all(report.artifacts);
  return report;
}

JobReport report_refs(const ArtifactStore& store, const std::vector<std::string>& refs,
                      std::span<const std::uint32_t> ks) {
  JobReport report;
  ArtifactReader reader(store);
  const std::vector<State> jobs = read_jobs(store);
  for (const std::string& ref : refs) {
    const Digest digest = store.resolve(ref);
    const State* maker = nullptr;
    std::uint32_t index = 0;
    for (const State& job : jobs)
      for (std::uint32_t i = 0; i < job.artifacts.size(); ++i)
        if (job.artifacts[i].published == digest) {
          maker = &job;
          index = i;
        }
    ArtifactScore& artifact = report.artifacts.emplace_back(
        reader.read(ref, digest, maker ? maker->artifacts[index].quantize_seconds : 0));
    if (maker == nullptr) continue;
    describe_job(report, *maker);
    artifact.model = maker->job.model;
    artifact.calibration_spec = maker->job.calibration;
    artifact.usage = read_usage(store, maker->job_id, index, kNoEvaluation);
    for (const EvaluationProgress& evaluation : maker->evaluations)
      if (evaluation.artifact == index && evaluation.opened)
        artifact.evaluations.push_back(read_score(store, *maker, evaluation, ks));
    report.seconds += artifact.seconds;
  }
  report.distinct_bytes = reader.distinct_bytes();
  report.comparisons = compare_all(report.artifacts);
  return report;
}

}  // namespace quench::coordinator
