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

struct GangStarted {
  attempt @0 :UInt32;
  folder @1 :Text;  # of a gang that outlives its coordinator: how the next one finds it
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

# --- The service's own journal, "service": its queue, its tokens, and who changed what ----------

enum JobState {
  queued @0;
  running @1;
  cancelling @2;  # it was at work when somebody cancelled it; its processes end
  done @3;
  failed @4;
  cancelled @5;
}

struct JobMoved {
  number @0 :UInt64;  # the service's name for the job
  to @1 :JobState;
  reason @2 :Text;
  by @3 :Text;  # the user; empty: the service
  unixMs @4 :Int64;
  job @5 :Job.JobSpec;  # at its submission
  priority @6 :Int32;  # at its submission
  jobId @7 :Data;  # once the model has been read
  errorCode @8 :Text;
  rankSeconds @9 :Float64;  # used since it was started
  plannedBytes @10 :UInt64;  # at its submission: what its artifacts will take
  after @11 :List(UInt64);  # at its submission: the jobs that must be done before it starts
}

struct TokenChanged {
  id @0 :Text;
  user @1 :Text;
  scopes @2 :List(Text);
  hash @3 :Data;  # SHA-256 of the secret; none: the token is revoked
  expiresUnixMs @4 :Int64;
  by @5 :Text;
  unixMs @6 :Int64;
}

struct NameChanged {
  name @0 :Text;
  artifact @1 :Data;
  by @2 :Text;
  unixMs @3 :Int64;
}

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
    jobMoved @8 :JobMoved;
    tokenChanged @9 :TokenChanged;
    nameChanged @10 :NameChanged;
    gangStarted @11 :GangStarted;
  }
}
