// What the coordinator writes down about a job, in order; replaying it gives the job's state.
#pragma once

#include <cstdint>
#include <string>
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

using JournalEvent = std::variant<JobAccepted, AttemptStarted, AttemptEnded, OuterCommitted, BlockWritten,
                                  ArtifactPublished, EvaluationOpened, JobFinished>;

}  // namespace quench
