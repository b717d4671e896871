@0x92f07eee643dd64b;
# What the store keeps. A manifest is stored in canonical form and the SHA-256 of those bytes is the
# artifact's name, so two runs that computed the same thing have the same bytes here. Whatever may differ
# between such runs (time, ranks, hosts, build) belongs in a RunRecord. A field added to Manifest must
# have a default that stands for what older manifests meant: canonical form leaves trailing defaults out,
# so their digests stay.
#
# A digest is 32 bytes of Data, or no bytes at all for "none".

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("quench::schema");

using Job = import "job.capnp";

struct ChunkRef {
  digest @0 :Data;
  bytes @1 :UInt64;
}

enum TensorLayout {
  raw @0;
  packed @1;
  additive @2;
}

enum DType {
  f32 @0;
  f16 @1;
  bf16 @2;
  f64 @3;
  i8 @4;
  u8 @5;
  i16 @6;
  i32 @7;
  i64 @8;
  boolean @9;
}

struct TensorRecord {
  name @0 :Text;
  layout @1 :TensorLayout;
  dtype @2 :DType;
  shape @3 :List(UInt64);
  bits @4 :UInt32;
  groupSize @5 :Int32 = -1;
  rowsPerTile @6 :UInt32;
  chunks @7 :List(ChunkRef);
  permutation @8 :ChunkRef;
  codebooks @9 :UInt32;
  activations @10 :Job.Activations;
  activationScale @11 :Float64;
}

struct BitChoice {
  tensor @0 :Text;
  bits @1 :UInt32;
  groupSize @2 :Int32 = -1;
}

struct FileRecord {
  name @0 :Text;
  chunk @1 :ChunkRef;
}

struct LinearLoss {
  tensor @0 :Text;
  loss @1 :Float64;
  relativeLoss @2 :Float64;
}

struct LeftOut {
  reason @0 :Text;
  documents @1 :UInt64;
}

# What a calibration set is; its windows and the origins of their documents are the manifest's tensors.
struct CalibrationRecord {
  kind @0 :Job.CalibrationKind;
  sequences @1 :UInt32;
  length @2 :UInt32;
  seed @3 :UInt64;
  tokenizer @4 :Data;
  windows @5 :Data;
  filesPerRepository @6 :UInt32;
  scoreMin @7 :Int32;
  benchmarks @8 :Data;
  documentsRead @9 :UInt64;
  documentsUsed @10 :UInt64;
  leftOut @11 :List(LeftOut);
}

struct Manifest {
  formatVersion @0 :UInt32;
  source @1 :Data;
  calibration @2 :Data;
  recipe @3 :Job.QuantizeSpec;
  files @4 :List(FileRecord);
  tensors @5 :List(TensorRecord);
  losses @6 :List(LinearLoss);
  endpointUrl @7 :Text;  # a model that is served elsewhere: it has no files and tensors
  endpointModel @8 :Text;
  calibrationSet @9 :Data;  # digest of the set's manifest
  set @10 :CalibrationRecord;  # a calibration set; absent in everything else
}

struct RunRecord {
  artifact @0 :Data;
  jobName @1 :Text;
  quantizeSeconds @2 :Float64;
  ranks @3 :UInt32;
  threads @4 :UInt32;
  build @5 :Text;
  isa @6 :Text;
  hosts @7 :List(Text);
  finishedUnixMs @8 :Int64;
  attempts @9 :UInt32;
  replayedBlocks @10 :UInt32;
}

struct EnergyReading {
  counter @0 :Text;
  joules @1 :Float64;
  seconds @2 :Float64;
  idleWatts @3 :Float64 = -1;
}

struct PhaseUsage {
  host @0 :Text;
  rank @1 :UInt32;
  attempt @2 :UInt32;
  seconds @3 :Float64;
  weightBytes @4 :UInt64;
  loadGrowthBytes @5 :UInt64;
  residentPeakBytes @6 :UInt64;
  energy @7 :List(EnergyReading);
  energyNote @8 :Text;
}

enum VerdictResult {
  passed @0;
  failed @1;
  timedOut @2;
  outOfMemory @3;
  outputLimit @4;
  sandboxViolation @5;
  compileError @6;
}

enum Confinement {
  namespaces @0;
  landlock @1;
}

struct Verdict {
  task @0 :UInt32;
  sample @1 :UInt32;
  result @2 :VerdictResult;
  completion @3 :Text;  # bytes of a model's output; not always UTF-8
  tokens @4 :UInt32;
  cpuSeconds @5 :Float64;
  detail @6 :Text;
  isolated @7 :Bool = true;
  confinement @8 :Confinement;
  output @9 :Text;
}

struct EvaluationKey {
  artifact @0 :Data;
  benchmark @1 :Data;
  spec @2 :Job.EvaluateSpec;
}
