@0xa3a2c7854b297153;
# What the coordinator writes down about a job, in order; replaying it gives the job's state. Journals
# outlive the build that wrote them: field and alternative numbers never change their meaning.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("quench::schema");

using Job = import "job.capnp";
using Artifact = import "artifact.capnp";

struct JobAccepted {
  job @0 :Job.JobSpec;
  source @1 :Data;
}

struct AttemptStarted {
  attempt @0 :UInt32;
  ranks @1 :UInt32;
  unixMs @2 :Int64;
}

struct AttemptEnded {
  attempt @0 :UInt32;
  reason @1 :Text;
}

struct OuterCommitted {
  artifact @0 :UInt32;
  calibration @1 :Data;
  files @2 :List(Artifact.FileRecord);
  tensors @3 :List(Artifact.TensorRecord);
  choices @4 :List(Artifact.BitChoice);
}

struct BlockWritten {
  artifact @0 :UInt32;
  block @1 :UInt32;
  tensors @2 :List(Artifact.TensorRecord);
  losses @3 :List(Artifact.LinearLoss);
  seconds @4 :Float64;
}

struct ArtifactPublished {
  artifact @0 :UInt32;
  digest @1 :Data;
  quantizeSeconds @2 :Float64;
}

struct EvaluationOpened {
  artifact @0 :UInt32;
  evaluation @1 :UInt32;
  benchmark @2 :Data;
  taskIds @3 :List(Text);
}

struct JobFinished {}

struct JournalEvent {
  union {
    jobAccepted @0 :JobAccepted;
    attemptStarted @1 :AttemptStarted;
    attemptEnded @2 :AttemptEnded;
    outerCommitted @3 :OuterCommitted;
    blockWritten @4 :BlockWritten;
    artifactPublished @5 :ArtifactPublished;
    evaluationOpened @6 :EvaluationOpened;
    jobFinished @7 :JobFinished;
  }
}
