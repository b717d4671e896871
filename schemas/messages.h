// The messages of the control plane (DESIGN.md section 5) as value types. A message goes into one
// frame; bulk bytes (a chunk) go beside it as the frame's payload, whose digest the message names.
// Who sends what: W worker rank, E evaluation worker, R reader (a CLI child or another command on
// quench.sock), C the coordinator (the process that holds the store).
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "schemas/artifact.h"
#include "schemas/digest.h"
#include "schemas/error.h"
#include "schemas/ids.h"
#include "schemas/job_spec.h"

namespace quench {

// --- Handshake ------------------------------------------------------------------------------
struct Challenge {  // C first: proves nothing, asks for proof
  std::string nonce;
  std::string build;
  bool operator==(const Challenge&) const = default;
};
enum class PeerRole : std::uint16_t { rank, reader, evaluator };
struct Hello {        // W, E, R
  std::string build;  // workers of another build are refused
  PeerRole role = PeerRole::rank;
  // Of a gang's rank; of an evaluator that the coordinator started, its slot; world 0: one that joined by
  // itself.
  RankId rank;
  std::string host;
  std::int64_t pid = 0;
  std::string isa;
  Digest proof;  // hmac_sha256(secret, nonce); none on a Unix socket, whose peer is known
  bool operator==(const Hello&) const = default;
};
struct Welcome {  // C
  std::uint32_t heartbeat_ms = 1000;
  std::uint32_t silence_ms_max = 5000;  // without a frame for so long the other side is lost
  bool operator==(const Welcome&) const = default;
};
struct Refused {  // C, then closes
  ErrorCode code = ErrorCode::refused;
  std::string message;
  bool operator==(const Refused&) const = default;
};
struct Heartbeat {  // both ways
  bool operator==(const Heartbeat&) const = default;
};

// --- Orders: C → every rank of the gang, in the same order ------------------------------------
struct QuantizeOrder {
  JobSpec job;  // paths absolute
  Digest job_id;
  Digest source;
  Digest calibration;          // what the ranks' own windows must hash to; none: not known yet
  std::uint32_t artifact = 0;  // index in artifact_recipes(job)
  std::uint32_t first_block = 0;
  bool outer_committed = false;  // OuterDone is not expected again
  std::string scratch_dir;
  // Committed blocks' records, so that a resuming gang can rebuild hidden states it has lost.
  std::vector<TensorRecord> committed;
  std::vector<BitChoice> choices;  // as OuterDone had them, when it was committed
  bool operator==(const QuantizeOrder&) const = default;
};
struct EvaluateOrder {  // C → one evaluation worker, which may get others before it has asked for all of this one
  JobSpec job;
  Digest artifact;
  std::uint32_t evaluation = 0;  // index in job.evaluate
  std::string cache_dir;         // chunks fetched once per node
  std::uint32_t number = 0;      // names this order in the messages about it
  bool operator==(const EvaluateOrder&) const = default;
};
struct ExitOrder {  // finish MPI (a rank) and end with 0
  bool operator==(const ExitOrder&) const = default;
};

// --- Quantizing: W → C ----------------------------------------------------------------------
struct ChunkPut {  // payload: the chunk
  Digest digest;
  bool operator==(const ChunkPut&) const = default;
};
struct ChunkStored {  // C: everything this connection put so far, counted from 1
  std::uint64_t count = 0;
  bool operator==(const ChunkStored&) const = default;
};
struct OuterDone {  // rank 0: tensors outside the blocks and the carried files are uploaded
  std::uint32_t artifact = 0;
  Digest calibration;
  std::vector<FileRecord> files;
  std::vector<TensorRecord> tensors;
  std::vector<BitChoice> choices;  // of a recipe with a budget: of every linear
  bool operator==(const OuterDone&) const = default;
};
struct BlockDone {  // rank 0, after every rank's chunks of the block were stored
  std::uint32_t artifact = 0;
  std::uint32_t block = 0;
  std::vector<TensorRecord> tensors;
  std::vector<LinearLoss> losses;
  double seconds = 0;
  bool replayed = false;
  bool operator==(const BlockDone&) const = default;
};
struct BlockCommitted {  // C → every rank: durable; kOuterBlock answers OuterDone
  std::uint32_t artifact = 0;
  std::uint32_t block = 0;
  bool operator==(const BlockCommitted&) const = default;
};
inline constexpr std::uint32_t kOuterBlock = 0xffffffff;
struct ArtifactDone {  // rank 0: all blocks committed; C publishes
  std::uint32_t artifact = 0;
  double seconds = 0;
  std::uint32_t replayed_blocks = 0;
  bool operator==(const ArtifactDone&) const = default;
};
struct Progress {  // rank 0
  std::uint32_t artifact = 0;
  std::uint32_t block = 0;
  std::string step;  // "hessian", "factor", "solve", "forward"
  bool operator==(const Progress&) const = default;
};
struct Failure {  // W, E: why this process is about to end (and, a rank, to abort the gang)
  ErrorCode code = ErrorCode::failed;
  std::string message;
  bool operator==(const Failure&) const = default;
};
struct LogLine {            // W
  std::uint16_t level = 0;  // spdlog's numbers
  std::string text;
  bool operator==(const LogLine&) const = default;
};

// What a process takes now, for those who watch: sent unasked every few seconds. Measured, never estimated.
struct GpuStatus {
  std::string name;
  std::uint64_t used_bytes = 0;  // by all processes
  std::uint64_t total_bytes = 0;
  double watts = -1;  // -1: it has no meter
  bool operator==(const GpuStatus&) const = default;
};
struct WorkerStatus {  // W, E
  std::uint64_t resident_bytes = 0;
  std::vector<GpuStatus> gpus;  // that this process may use
  double watts = -1;            // of the host's processors and memory since the last one; -1: no counter can be read
  std::string energy_note;      // why counters are missing; empty when none is
  bool operator==(const WorkerStatus&) const = default;
};

// --- Resuming: a gang whose coordinator was started anew --------------------------------------------
inline constexpr std::uint32_t kAllOrders = 0xffffffff;
struct Resuming {  // W, after the chunks that no commit has named were put again
  std::uint32_t orders = 0;  // the artifact of the last QuantizeOrder that came, from 1; kAllOrders: the ExitOrder came
  bool operator==(const Resuming&) const = default;
};
struct Resumed {  // C, once every rank has said so: up to here all is durable, what was not answered may be said again
  std::uint32_t artifact = 0;
  std::uint32_t blocks = 0;
  bool outer_committed = false;
  bool operator==(const Resumed&) const = default;
};

// --- Evaluating: E and C; `number` is the order's -----------------------------------------------
struct BenchmarkInfo {  // E, once per EvaluateOrder, before asking for leases
  Digest digest;
  std::vector<std::string> task_ids;
  std::uint32_t number = 0;
  bool operator==(const BenchmarkInfo&) const = default;
};
struct MadeText {  // a completion that has no verdict yet
  std::uint32_t task = 0;
  std::uint32_t sample = 0;
  std::string text;          // as it was generated, before any cut
  std::uint32_t tokens = 0;  // generated
  bool operator==(const MadeText&) const = default;
};
struct LeaseRequest {  // E: one at a time
  std::uint32_t items_max = 0;
  std::uint32_t number = 0;
  LeaseId lease;               // that was generated last
  std::vector<MadeText> made;  // of it: whoever gets its items when this worker dies need not generate them again
  bool operator==(const LeaseRequest&) const = default;
};
struct LeaseItem {
  std::uint32_t task = 0;
  std::uint32_t sample = 0;
  bool operator==(const LeaseItem&) const = default;
};
struct LeaseGrant {  // C; empty items: nothing is left for this worker, the order is done
  LeaseId lease;
  std::uint32_t deadline_ms = 0;
  std::vector<LeaseItem> items;
  std::vector<MadeText> made;  // of some of the items: by a worker that was lost
  bool operator==(const LeaseGrant&) const = default;
};
struct LeaseRenewal {  // E: work on the lease goes on; its deadline begins anew
  LeaseId lease;
  std::uint32_t number = 0;
  bool operator==(const LeaseRenewal&) const = default;
};
struct VerdictsDone {  // E: the lease is given back with them
  LeaseId lease;
  std::vector<Verdict> verdicts;
  std::uint32_t number = 0;
  bool operator==(const VerdictsDone&) const = default;
};

// What the phase that just ended took on this rank: sent by every rank and evaluation worker after each order. It goes on
// once it is kept, so that the last one is not lost with the gang.
inline constexpr std::uint32_t kNoEvaluation = UINT32_MAX;
struct UsageDone {                           // W, E
  std::uint32_t artifact = 0;                // of a QuantizeOrder
  std::uint32_t evaluation = kNoEvaluation;  // of an EvaluateOrder, index in job.evaluate
  Digest published;                          // the EvaluateOrder's artifact
  PhaseUsage usage;
  bool operator==(const UsageDone&) const = default;
};
struct UsageKept {  // C
  bool operator==(const UsageKept&) const = default;
};

// --- Reading the store: W, E, R → C; refs and digests are checked by C -----------------------------
struct ManifestRequest {
  std::string ref;  // name, digest, or unique digest prefix
  bool operator==(const ManifestRequest&) const = default;
};
struct ManifestReply {
  Digest digest;
  Manifest manifest;
  bool operator==(const ManifestReply&) const = default;
};
struct ChunkRequest {
  Digest digest;
  bool operator==(const ChunkRequest&) const = default;
};
struct ChunkReply {  // payload: the chunk
  Digest digest;
  bool operator==(const ChunkReply&) const = default;
};
struct StoreCommand {  // R: an `artifacts` command's arguments, run by the store's owner
  std::vector<std::string> arguments;
  bool operator==(const StoreCommand&) const = default;
};
struct StoreReply {  // C: what the command printed, and its exit code
  std::int32_t exit_code = 0;
  std::string out;
  std::string err;
  bool operator==(const StoreReply&) const = default;
};
struct RequestFailed {  // C: the answer to a request that cannot be met
  ErrorCode code = ErrorCode::bad_input;
  std::string message;
  bool operator==(const RequestFailed&) const = default;
};

using Message =
    std::variant<Challenge, Hello, Welcome, Refused, Heartbeat, QuantizeOrder, EvaluateOrder, ExitOrder,
                 ChunkPut, ChunkStored, OuterDone, BlockDone, BlockCommitted, ArtifactDone, Progress, Failure,
                 LogLine, BenchmarkInfo, LeaseRequest, LeaseGrant, VerdictsDone, ManifestRequest,
                 ManifestReply, ChunkRequest, ChunkReply, StoreCommand, StoreReply, RequestFailed, LeaseRenewal, UsageDone,
                 UsageKept, Resuming, Resumed, WorkerStatus>;

}  // namespace quench
