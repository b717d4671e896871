// What the coordinator knows about the job it runs: plain data. Only reactor.cc changes it, on the
// event loop's thread; everything durable in it can be rebuilt from the journal and the results.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/lease_table.h"
#include "schemas/artifact.h"
#include "schemas/error.h"
#include "schemas/ids.h"
#include "schemas/job_spec.h"
#include "schemas/journal.h"

namespace quench::coordinator {

// A connection of the service, unique within the process.
using ConnectionId = std::uint64_t;
// Milliseconds of a steady clock.
using TimeMs = std::int64_t;

// One artifact of the job, from its first block to its name in the store.
struct ArtifactProgress {
  QuantizeSpec recipe;
  std::optional<OuterCommitted> outer;
  std::vector<BlockWritten> blocks;  // committed, from block 0 without a gap
  std::optional<Digest> published;
  double quantize_seconds = 0;
};

// One (artifact, evaluation of the job) pair.
struct EvaluationProgress {
  std::uint32_t artifact = 0;
  std::uint32_t evaluation = 0;
  std::optional<EvaluationOpened> opened;
  // Present once opened in this process; holds what is still to be executed.
  std::optional<LeaseTable> leases;
  bool complete = false;
};

struct RankConnection {
  ConnectionId connection = 0;
  std::string host;
  std::string isa;
  bool idle = false;  // has nothing left to do under the current order
};

enum class Phase {
  planned,     // no gang yet
  gathering,   // the gang was started; its ranks dial in
  quantizing,  // one QuantizeOrder is under way
  evaluating,  // one EvaluateOrder is under way
  leaving,     // ExitOrder was sent
  waiting,     // the gang ended early; its processes are awaited before the next attempt
  finished,
  failed,
};

struct JobFailure {
  ErrorCode code = ErrorCode::failed;
  std::string message;
};

struct State {
  // What was asked for.
  JobSpec job;
  Digest job_id;
  Digest source;
  std::uint32_t block_count = 0;
  std::string scratch_dir;
  std::string cache_dir;
  std::string build;

  // How far it is.
  Phase phase = Phase::planned;
  std::vector<ArtifactProgress> artifacts;
  std::vector<EvaluationProgress> evaluations;
  std::uint32_t current = 0;  // index in artifacts or evaluations, by phase
  Digest calibration;         // of the windows, once a rank has named it

  // The gang.
  AttemptNumber attempt;
  std::map<std::uint32_t, RankConnection> ranks;
  TimeMs gathering_deadline = 0;
  std::uint32_t attempts_without_progress = 0;
  bool progress_in_attempt = false;
  std::optional<JobFailure> first_failure;  // of this attempt: what the ranks said before they ended
  std::optional<JobFailure> failure;        // of the job
  bool stop_requested = false;
  std::uint32_t replayed_blocks = 0;
  TimeMs now = 0;
};

}  // namespace quench::coordinator
