// What the coordinator knows about the job it runs: plain data. Only reactor.cc and fan_out.cc change it,
// on the event loop's thread; everything durable in it can be rebuilt from the journal and the results.
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
#include "schemas/messages.h"

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
  std::optional<WorkerStatus> status;   // the last that it told
  std::optional<std::uint32_t> orders;  // while resuming: Resuming::orders, once it has said so
};

// A connected evaluation worker.
struct Evaluator {
  std::string host;
  std::optional<std::uint32_t> slot;   // of a process that we started; none: it joined by itself
  std::optional<std::uint32_t> order;  // index in evaluations: what it works on
  bool described = false;              // it has told the problem file of this order
  std::uint32_t items_asked = 0;       // of a LeaseRequest that waits; 0: none waits
  std::optional<WorkerStatus> status;  // the last that it told
};

enum class Phase {
  planned,     // nothing was started yet
  gathering,   // the gang was started; its ranks dial in
  resuming,    // the gang of an earlier coordinator was taken over; its ranks dial in and say how far they are
  quantizing,  // one QuantizeOrder is under way
  leaving,     // all artifacts are published; ExitOrder was sent to the gang
  waiting,     // the gang ended early, or a stop was asked for; processes are awaited
  evaluating,  // there is no gang any more: evaluation workers do the rest
  dismissing,  // every verdict is in; ExitOrder was sent to the evaluation workers
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
  std::uint32_t current = 0;  // index in artifacts while quantizing
  Digest calibration;         // of the windows, once a rank has named it

  // The gang.
  AttemptNumber attempt;
  std::string left_gang;  // from the journal: the folder of a gang of this attempt that outlives its coordinator
  std::map<std::uint32_t, RankConnection> ranks;
  TimeMs gathering_deadline = 0;
  std::uint32_t attempts_without_progress = 0;
  bool progress_in_attempt = false;
  std::optional<JobFailure> first_failure;  // of this attempt: what the ranks said before they ended
  std::optional<JobFailure> failure;        // of the job
  bool stop_requested = false;
  std::string stop_reason;

  // Evaluation, which goes on beside the gang for artifacts that are published: whoever has joined.
  std::map<ConnectionId, Evaluator> evaluators;
  // Evaluation workers that we started, by slot; how the process ended, while its last messages are awaited.
  std::map<std::uint32_t, std::optional<std::string>> slots;
  std::uint32_t deaths_without_verdict = 0;   // of them, since the last verdict
  std::optional<JobFailure> evaluator_failure;  // what one of them said before it ended
  TimeMs dismissal_deadline = 0;

  std::uint32_t replayed_blocks = 0;
  TimeMs now = 0;
};

}  // namespace quench::coordinator
