// From a job file to a job's state and back to a clean disk: what `quench run` and `quench serve` both do around the
// work itself.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "coordinator/state.h"
#include "coordinator/store/artifact_store.h"

namespace quench::coordinator {

struct JobSource {
  Digest digest;
  std::uint32_t blocks = 0;  // 0: of an endpoint
};

// Reads the model's headers. Throws Error(bad_input) naming what is wrong with it or with the job on it. Any thread.
std::uint32_t check_job_model(const JobSpec& job);
// What its artifacts will take in the store, each counted for itself. Any thread. Throws as check_job_model.
std::uint64_t bytes_to_publish(const JobSpec& job);
// The same as check_job_model, and all of the model's bytes for their digest: minutes for a large one. `on_bytes` as in
// model_source_digest. Any thread.
JobSource read_job_source(const JobSpec& job, const std::function<void(std::uint64_t)>& on_bytes = {});

// The job as the journal knows it; its first event is written when there is none. Event-loop thread.
State open_or_accept(ArtifactStore& store, const JobSpec& job, const JobSource& source);
// The same without writing: nothing when the store has no such job.
std::optional<State> find_job(const ArtifactStore& store, const Digest& job_id);

// STORE/logs/JOB.log
std::filesystem::path log_file(const ArtifactStore& store, const Digest& job_id);
// Removes what only a resuming gang would want.
void remove_scratch(const State& state);

}  // namespace quench::coordinator
