// What the coordinator writes down about a job, in order; replaying it gives the job's state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "schemas/artifact.h"
#include "schemas/digest.h"
#include "schemas/job_spec.h"

namespace quench {

struct JobAccepted {
  JobSpec job;
  Digest source;
  bool operator==(const JobAccepted&) const = default;
};
struct AttemptStarted {
  std::uint32_t attempt = 0;
  std::uint32_t ranks = 0;
  std::int64_t unix_ms = 0;
  bool operator==(const AttemptStarted&) const = default;
};
struct AttemptEnded {
  std::uint32_t attempt = 0;
  std::string reason;  // empty: it did what it was started for
  bool operator==(const AttemptEnded&) const = default;
};
// The attempt's gang outlives its coordinator: with this folder, which holds its secret, the next one takes it over.
struct GangStarted {
  std::uint32_t attempt = 0;
  std::string folder;
  bool operator==(const GangStarted&) const = default;
};
struct OuterCommitted {
  std::uint32_t artifact = 0;
  Digest calibration;
  std::vector<FileRecord> files;
  std::vector<TensorRecord> tensors;
  std::vector<BitChoice> choices;  // of a recipe with a budget
  bool operator==(const OuterCommitted&) const = default;
};
struct BlockWritten {
  std::uint32_t artifact = 0;
  std::uint32_t block = 0;
  std::vector<TensorRecord> tensors;
  std::vector<LinearLoss> losses;
  double seconds = 0;
  bool operator==(const BlockWritten&) const = default;
};
struct ArtifactPublished {
  std::uint32_t artifact = 0;
  Digest digest;
  double quantize_seconds = 0;
  bool operator==(const ArtifactPublished&) const = default;
};
// The ranks said what the benchmark is: from here on the job knows its tasks, and a finished job can
// be reported without a gang.
struct EvaluationOpened {
  std::uint32_t artifact = 0;
  std::uint32_t evaluation = 0;  // index in job.evaluate
  Digest benchmark;
  std::vector<std::string> task_ids;
  bool operator==(const EvaluationOpened&) const = default;
};
struct JobFinished {
  bool operator==(const JobFinished&) const = default;
};

// --- The service's own journal ------------------------------------------------------------------
// What a job of the queue is doing. The service's journal holds every change, with who made it.
enum class JobState : std::uint16_t {
  queued,
  running,
  cancelling,  // it was at work when somebody cancelled it; its processes end
  done,
  failed,
  cancelled,
};
std::string_view to_string(JobState state);

struct JobMoved {
  std::uint64_t number = 0;  // the service's name for the job
  JobState to = JobState::queued;
  std::string reason;
  std::string by;  // the user; empty: the service
  std::int64_t unix_ms = 0;
  std::optional<JobSpec> job;  // at its submission
  std::int32_t priority = 0;   // at its submission
  Digest job_id;               // once the model has been read
  std::string error_code;
  double rank_seconds = 0;  // used since it was started
  std::uint64_t planned_bytes = 0;  // at its submission: what its artifacts will take
  std::vector<std::uint64_t> after;  // at its submission: the jobs that must be done before it starts
  bool operator==(const JobMoved&) const = default;
};
struct TokenChanged {
  std::string id;
  std::string user;
  std::vector<std::string> scopes;
  Digest hash;  // of the secret; none: the token is revoked
  std::int64_t expires_unix_ms = 0;
  std::string by;
  std::int64_t unix_ms = 0;
  bool operator==(const TokenChanged&) const = default;
};
struct NameChanged {
  std::string name;
  Digest artifact;
  std::string by;
  std::int64_t unix_ms = 0;
  bool operator==(const NameChanged&) const = default;
};

using JournalEvent = std::variant<JobAccepted, AttemptStarted, AttemptEnded, OuterCommitted, BlockWritten,
                                  ArtifactPublished, EvaluationOpened, JobFinished, JobMoved, TokenChanged, NameChanged,
                                  GangStarted>;

}  // namespace quench
