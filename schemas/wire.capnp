@0xd44bf9ed09c4416e;
# The control plane between the coordinator (C), the ranks of a gang (W), evaluation workers (E) and readers of a
# store (R).
# messages.h says who sends what and when. One Message goes into one frame; a chunk's bytes travel beside
# it as the frame's payload and never through Cap'n Proto. A message is one segment in canonical form
# without a segment table: the stream framing of Cap'n Proto, whose segment count overflows in 0.9, is
# never parsed. Both ends are of one build (the handshake refuses others), so alternatives may be added
# freely, at the end.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("quench::schema");

using Job = import "job.capnp";
using Artifact = import "artifact.capnp";

enum PeerRole {
  rank @0;
  reader @1;
  evaluator @2;
}

enum ErrorCode {
  badInput @0;
  failed @1;
  refused @2;
  unreachable @3;
  interrupted @4;
  corrupt @5;
  timedOut @6;
  internal @7;
}

struct RankId {
  rank @0 :UInt32;
  world @1 :UInt32 = 1;
}

struct Challenge {
  nonce @0 :Text;
  build @1 :Text;
}

struct Hello {
  build @0 :Text;
  role @1 :PeerRole;
  rank @2 :RankId;
  host @3 :Text;
  pid @4 :Int64;
  isa @5 :Text;
  proof @6 :Data;
}

struct Welcome {
  heartbeatMs @0 :UInt32;
  silenceMsMax @1 :UInt32;
}

struct Refused {
  code @0 :ErrorCode;
  message @1 :Text;
}

struct Heartbeat {}

struct QuantizeOrder {
  job @0 :Job.JobSpec;
  jobId @1 :Data;
  source @2 :Data;
  calibration @3 :Data;
  artifact @4 :UInt32;
  firstBlock @5 :UInt32;
  scratchDir @6 :Text;
  committed @7 :List(Artifact.TensorRecord);
  outerCommitted @8 :Bool;
  choices @9 :List(Artifact.BitChoice);
}

struct EvaluateOrder {
  job @0 :Job.JobSpec;
  artifact @1 :Data;
  evaluation @2 :UInt32;
  cacheDir @3 :Text;
  number @4 :UInt32;
}

struct ExitOrder {}

struct ChunkPut {
  digest @0 :Data;
}

struct ChunkStored {
  count @0 :UInt64;
}

struct OuterDone {
  artifact @0 :UInt32;
  calibration @1 :Data;
  files @2 :List(Artifact.FileRecord);
  tensors @3 :List(Artifact.TensorRecord);
  choices @4 :List(Artifact.BitChoice);
}

struct BlockDone {
  artifact @0 :UInt32;
  block @1 :UInt32;
  tensors @2 :List(Artifact.TensorRecord);
  losses @3 :List(Artifact.LinearLoss);
  seconds @4 :Float64;
  replayed @5 :Bool;
}

struct BlockCommitted {
  artifact @0 :UInt32;
  block @1 :UInt32;
}

struct ArtifactDone {
  artifact @0 :UInt32;
  seconds @1 :Float64;
  replayedBlocks @2 :UInt32;
}

struct Progress {
  artifact @0 :UInt32;
  block @1 :UInt32;
  step @2 :Text;
}

struct Failure {
  code @0 :ErrorCode;
  message @1 :Text;
}

struct LogLine {
  level @0 :UInt16;
  text @1 :Text;
}

struct BenchmarkInfo {
  digest @0 :Data;
  taskIds @1 :List(Text);
  number @2 :UInt32;
}

struct MadeText {
  task @0 :UInt32;
  sample @1 :UInt32;
  text @2 :Text;
  tokens @3 :UInt32;
}

struct LeaseRequest {
  itemsMax @0 :UInt32;
  number @1 :UInt32;
  lease @2 :UInt64;
  made @3 :List(MadeText);
}

struct LeaseItem {
  task @0 :UInt32;
  sample @1 :UInt32;
}

struct LeaseGrant {
  lease @0 :UInt64;
  deadlineMs @1 :UInt32;
  items @2 :List(LeaseItem);
  made @3 :List(MadeText);
}

struct VerdictsDone {
  lease @0 :UInt64;
  verdicts @1 :List(Artifact.Verdict);
  number @2 :UInt32;
}

struct LeaseRenewal {
  lease @0 :UInt64;
  number @1 :UInt32;
}

struct ManifestRequest {
  ref @0 :Text;
}

struct ManifestReply {
  digest @0 :Data;
  manifest @1 :Artifact.Manifest;
}

struct ChunkRequest {
  digest @0 :Data;
}

struct ChunkReply {
  digest @0 :Data;
}

struct StoreCommand {
  arguments @0 :List(Text);
}

struct StoreReply {
  exitCode @0 :Int32;
  out @1 :Text;
  err @2 :Text;
}

struct RequestFailed {
  code @0 :ErrorCode;
  message @1 :Text;
}

struct UsageDone {
  artifact @0 :UInt32;
  evaluation @1 :UInt32 = 0xffffffff;
  usage @2 :Artifact.PhaseUsage;
  published @3 :Data;
}

struct UsageKept {}

struct GpuStatus {
  name @0 :Text;
  usedBytes @1 :UInt64;
  totalBytes @2 :UInt64;
  watts @3 :Float64 = -1;
}

struct WorkerStatus {
  residentBytes @0 :UInt64;
  gpus @1 :List(GpuStatus);
  watts @2 :Float64 = -1;
  energyNote @3 :Text;
}

struct Resuming {
  orders @0 :UInt32;
}

struct Resumed {
  artifact @0 :UInt32;
  blocks @1 :UInt32;
  outerCommitted @2 :Bool;
}

struct Message {
  union {
    challenge @0 :Challenge;
    hello @1 :Hello;
    welcome @2 :Welcome;
    refused @3 :Refused;
    heartbeat @4 :Heartbeat;
    quantizeOrder @5 :QuantizeOrder;
    evaluateOrder @6 :EvaluateOrder;
    exitOrder @7 :ExitOrder;
    chunkPut @8 :ChunkPut;
    chunkStored @9 :ChunkStored;
    outerDone @10 :OuterDone;
    blockDone @11 :BlockDone;
    blockCommitted @12 :BlockCommitted;
    artifactDone @13 :ArtifactDone;
    progress @14 :Progress;
    failure @15 :Failure;
    logLine @16 :LogLine;
    benchmarkInfo @17 :BenchmarkInfo;
    leaseRequest @18 :LeaseRequest;
    leaseGrant @19 :LeaseGrant;
    verdictsDone @20 :VerdictsDone;
    manifestRequest @21 :ManifestRequest;
    manifestReply @22 :ManifestReply;
    chunkRequest @23 :ChunkRequest;
    chunkReply @24 :ChunkReply;
    storeCommand @25 :StoreCommand;
    storeReply @26 :StoreReply;
    requestFailed @27 :RequestFailed;
    leaseRenewal @28 :LeaseRenewal;
    usageDone @29 :UsageDone;
    usageKept @30 :UsageKept;
    resuming @31 :Resuming;
    resumed @32 :Resumed;
    workerStatus @33 :WorkerStatus;
  }
}
