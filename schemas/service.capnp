@0xb1d5c7e3a9f04d62;
# The service and those who talk to it: its configuration file, the bodies of its HTTP requests (keys as they stand
# here, as in job files) and of its answers and events (keys in snake_case, as in --json documents). Nothing of this is
# stored; what is, is in journal.capnp. Clients outlive a build: a field keeps its meaning, new ones get the next
# number, and a client ignores keys that it does not know.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("quench::schema");

using Job = import "job.capnp";
using Artifact = import "artifact.capnp";
using Journal = import "journal.capnp";

# --- quench serve --config FILE ---------------------------------------------------------------

struct LocalUser {
  user @0 :Text;  # of this host; "*": everybody else
  scopes @1 :List(Text);  # read, submit, publish, admin
}

struct ServeConfig {
  store @0 :Text;  # the artifact store's directory
  socket @1 :Text;  # for users of this host; empty: http.sock in the store
  localUsers @2 :List(LocalUser);  # beside the service's own user and root, who may do everything
  listen @3 :Text;  # ADDRESS:PORT for users with tokens; empty: none
  tlsCertificate @4 :Text;  # PEM files; needed where `listen` leaves this host
  tlsKey @5 :Text;
  allowedPaths @6 :List(Text);  # where models and calibration text may lie; needed with `listen`
  slots @7 :UInt32 = 0;  # ranks at work at once; 0: this host's cores
  gangsMax @8 :UInt32 = 16;  # jobs at work at once
  queuedMax @9 :UInt32 = 1000;  # jobs that wait
  jobsPerUserMax @10 :UInt32 = 100;  # waiting or at work
  threads @11 :UInt32 = 0;  # per rank, where a job says nothing; 0: cores divided by slots
  launcher @12 :Text = "local";  # how gangs are started: local, or slurm
  connectionsMax @13 :UInt32 = 256;  # of HTTP, at once
  keepOrderSeconds @14 :UInt32 = 600;  # a job that waited so long for room is not overtaken by smaller ones
  slurmTemplate @15 :Text;  # batch script for launcher slurm; empty: the built-in one
  workerListen @16 :Text;  # ADDRESS:PORT where ranks on other hosts dial in; needed with launcher slurm
  plainNetwork @17 :Bool;  # allows workerListen to leave this host, unencrypted
  reconnectSeconds @18 :UInt32 = 300;  # how long ranks work on and wait for a service that has died; 0: they end with it
  bytesPerUserMax @19 :UInt64 = 0;  # artifacts that a user has published or queued; 0: no limit
}

# --- Requests ---------------------------------------------------------------------------------

struct CancelRequest {
  reason @0 :Text;
}

struct TokenRequest {
  user @0 :Text;  # whose token it is: jobs submitted with it are this user's
  scopes @1 :List(Text);
  days @2 :UInt32 = 90;  # until it expires
}

struct NameRequest {
  artifact @0 :Text;  # a name or digest of the store
}

# --- Answers ----------------------------------------------------------------------------------

struct ApiProblem {
  code @0 :Text;  # stable, for programs: bad_input, not_found, ...
  message @1 :Text;
}

struct JobProgress {
  what @0 :Text;  # an artifact, or an artifact and a benchmark
  done @1 :UInt32;  # blocks, or completions
  total @2 :UInt32;
  step @3 :Text;  # within the block
  secondsLeft @4 :Float64 = -1;  # -1: not known yet
}

struct JobView {
  id @0 :UInt64;
  name @1 :Text;
  model @2 :Text;
  user @3 :Text;
  priority @4 :Int32;
  state @5 :Journal.JobState;
  reason @6 :Text;  # why it waits, failed or was cancelled
  place @7 :UInt32;  # in the queue, from 1; 0: it does not wait
  ranks @8 :UInt32;
  submittedUnixMs @9 :Int64;
  startedUnixMs @10 :Int64;  # the last time; 0: never
  endedUnixMs @11 :Int64;
  starts @12 :UInt32;
  errorCode @13 :Text;
  digest @14 :Data;  # of the work: equal jobs have equal ones; known once it has started
  progress @15 :JobProgress;
  after @16 :List(UInt64);  # the jobs that must be done before it starts
}

struct JobList {
  jobs @0 :List(JobView);  # newest first
  slots @1 :UInt32;
  slotsUsed @2 :UInt32;
  queuedMax @3 :UInt32;
}

struct BlockView {
  block @0 :UInt32;
  seconds @1 :Float64;
  losses @2 :List(Artifact.LinearLoss);
}

struct ArtifactProgressView {
  name @0 :Text;
  method @1 :Job.Method;
  bits @2 :UInt32;
  blocksDone @3 :UInt32;
  blocksTotal @4 :UInt32;  # 0: not known before it has started
  digest @5 :Data;  # once it is published
  quantizeSeconds @6 :Float64;
  blocks @7 :List(BlockView);
}

struct EvaluationProgressView {
  artifact @0 :Text;
  benchmark @1 :Text;
  language @2 :Text;
  done @3 :UInt32;  # completions with a verdict
  total @4 :UInt32;  # 0: not known yet
  complete @5 :Bool;
}

struct GpuView {
  name @0 :Text;
  usedBytes @1 :UInt64;  # by all processes
  totalBytes @2 :UInt64;
  watts @3 :Float64 = -1;  # -1: it has no meter
}

struct WorkerView {
  role @0 :Text;  # rank or evaluator
  number @1 :Int32;  # of the rank, or of the evaluator's slot; -1: it joined by itself
  host @2 :Text;
  isa @3 :Text;
  work @4 :Text;
  memoryBytes @5 :UInt64;  # resident; 0: it has not said so yet
  gpus @6 :List(GpuView);  # that it may use
  watts @7 :Float64 = -1;  # of its host's processors and memory; -1: no counter can be read
  energyNote @8 :Text;  # why
}

struct JobDetail {
  job @0 :JobView;
  phase @1 :Text;
  attempt @2 :UInt32;
  artifacts @3 :List(ArtifactProgressView);
  evaluations @4 :List(EvaluationProgressView);
  workers @5 :List(WorkerView);
  history @6 :List(Journal.JobMoved);
}

struct TokenView {
  id @0 :Text;
  user @1 :Text;
  scopes @2 :List(Text);
  createdUnixMs @3 :Int64;
  expiresUnixMs @4 :Int64;
  revokedUnixMs @5 :Int64;  # 0: it is not
}

struct TokenList {
  tokens @0 :List(TokenView);
}

struct TokenCreated {
  token @0 :Text;  # shown this once
  view @1 :TokenView;
}

struct CallerView {
  user @0 :Text;
  scopes @1 :List(Text);
  via @2 :Text;  # socket or token
  jobs @3 :UInt32;  # waiting or at work
  jobsMax @4 :UInt32;
  bytes @5 :UInt64;  # of artifacts: published, and what jobs that wait or work will publish
  bytesMax @6 :UInt64;  # 0: no limit
}

struct AuditEntry {
  unixMs @0 :Int64;
  by @1 :Text;
  change @2 :Text;
  subject @3 :Text;
  reason @4 :Text;
}

struct AuditLog {
  entries @0 :List(AuditEntry);  # oldest first
}

# --- Events -----------------------------------------------------------------------------------

struct ProgressEvent {
  job @0 :UInt64;
  progress @1 :JobProgress;
}

struct BlockEvent {
  job @0 :UInt64;
  artifact @1 :Text;
  block @2 :BlockView;
}

struct LogEvent {
  job @0 :UInt64;
  text @1 :Text;
}
