#include "coordinator/job_opening.h"

#include "coordinator/plan/planner.h"
#include "coordinator/reactor.h"
#include "coordinator/records.h"
#include "schemas/build_id.h"
#include "schemas/codec.h"
#include "schemas/endpoint_url.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

std::vector<quench::JournalEvent> read_history(const ArtifactStore& store, const Digest& id) {
  std::vector<quench::JournalEvent> history;
  for (const JournalEvent& event : store.read_journal(journal_name(id)))
    history.push_back(decode_journal_event(event.bytes));
  return history;
}

}  // namespace

std::uint32_t check_job_model(const JobSpec& job) {
  if (is_endpoint(job.model)) {
    parse_endpoint_url(job.model);
    return 0;
  }
  return plan_job(job).config.layers;
}

std::uint64_t bytes_to_publish(const JobSpec& job) {
  if (is_endpoint(job.model)) return 0;
  std::uint64_t bytes = 0;
  for (const ArtifactPlan& artifact : plan_job(job).artifacts) bytes += artifact.artifact_bytes;
  return bytes;
}

JobSource read_job_source(const JobSpec& job, const std::function<void(std::uint64_t)>& on_bytes) {
  if (is_endpoint(job.model)) return {endpoint_source_digest(parse_endpoint_url(job.model), job.model_name), 0};
  const std::uint32_t blocks = check_job_model(job);
  return {model_source_digest(job.model, on_bytes), blocks};
}

State open_or_accept(ArtifactStore& store, const JobSpec& job, const JobSource& source) {
  const Digest id = job_id(job, source.digest);
  const std::vector<quench::JournalEvent> history = read_history(store, id);
  if (history.empty()) {
    Commit commit;
    commit.append_journal(journal_name(id), encode(quench::JournalEvent(JobAccepted{job, source.digest})));
    store.commit(commit);
  }
  State state = open_job(job, id, source.digest, source.blocks, history);
  state.build = kBuildId;
  state.scratch_dir = fs::absolute(store.directory() / "scratch");
  state.cache_dir = fs::absolute(store.directory() / "cache" / id.short_hex());
  return state;
}

std::optional<State> find_job(const ArtifactStore& store, const Digest& job_id) {
  const std::vector<quench::JournalEvent> history = read_history(store, job_id);
  const auto* const accepted = history.empty() ? nullptr : std::get_if<JobAccepted>(&history.front());
  if (accepted == nullptr) return std::nullopt;
  return open_job(accepted->job, job_id, accepted->source, 0, history);
}

fs::path log_file(const ArtifactStore& store, const Digest& job_id) {
  return store.directory() / "logs" / (job_id.short_hex() + ".log");
}

void remove_scratch(const State& state) {
  std::error_code ignored;
  fs::remove_all(fs::path(state.scratch_dir) / state.job_id.short_hex(), ignored);
  fs::remove_all(state.cache_dir, ignored);
}

}  // namespace quench::coordinator
