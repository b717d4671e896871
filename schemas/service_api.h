// What the service and its clients say to each other (service.capnp): configuration, requests, answers and events of
// the HTTP interface as value types. JSON by service_json.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "schemas/artifact.h"
#include "schemas/digest.h"
#include "schemas/job_spec.h"
#include "schemas/journal.h"

namespace quench {

// --- quench serve --config FILE ---------------------------------------------------------------
struct LocalUser {
  std::string user;  // of this host; "*": everybody else
  std::vector<std::string> scopes;  // read, submit, publish, admin
  bool operator==(const LocalUser&) const = default;
};

struct ServeConfig {
  std::string store;  // the artifact store's directory
  std::string socket;  // for users of this host; empty: http.sock in the store
  std::vector<LocalUser> local_users;  // beside the service's own user and root, who may do everything
  std::string listen;  // ADDRESS:PORT for users with tokens; empty: none
  std::string tls_certificate;  // PEM files; needed where `listen` leaves this host
  std::string tls_key;
  std::vector<std::string> allowed_paths;  // where models and calibration text may lie; needed with `listen`
  std::uint32_t slots = 0;  // ranks at work at once; 0: this host's cores
  std::uint32_t gangs_max = 16;  // jobs at work at once
  std::uint32_t queued_max = 1000;  // jobs that wait
  std::uint32_t jobs_per_user_max = 100;  // waiting or at work
  std::uint32_t threads = 0;  // per rank, where a job says nothing; 0: cores divided by slots
  std::string launcher = "local";  // how gangs are started: local, or slurm
  std::uint32_t connections_max = 256;  // of HTTP, at once
  std::uint32_t keep_order_seconds = 600;  // a job that waited so long for room is not overtaken by smaller ones
  std::string slurm_template;  // batch script for launcher slurm; empty: the built-in one
  std::string worker_listen;  // ADDRESS:PORT where ranks on other hosts dial in; needed with launcher slurm
  bool plain_network = false;  // allows worker_listen to leave this host, unencrypted
  std::uint32_t reconnect_seconds = 300;  // how long ranks work on and wait for a service that has died; 0: they end with it
  std::uint64_t bytes_per_user_max = 0;  // artifacts that a user has published or queued; 0: no limit
  bool operator==(const ServeConfig&) const = default;
};

// --- Requests ---------------------------------------------------------------------------------
struct CancelRequest {
  std::string reason;
  bool operator==(const CancelRequest&) const = default;
};

struct TokenRequest {
  std::string user;  // whose token it is: jobs submitted with it are this user's
  std::vector<std::string> scopes;
  std::uint32_t days = 90;  // until it expires
  bool operator==(const TokenRequest&) const = default;
};

struct NameRequest {
  std::string artifact;  // a name or digest of the store
  bool operator==(const NameRequest&) const = default;
};

// --- Answers ----------------------------------------------------------------------------------
struct ApiProblem {
  std::string code;  // stable, for programs: bad_input, not_found, ...
  std::string message;
  bool operator==(const ApiProblem&) const = default;
};

struct JobProgress {
  std::string what;  // an artifact, or an artifact and a benchmark
  std::uint32_t done = 0;  // blocks, or completions
  std::uint32_t total = 0;
  std::string step;  // within the block
  double seconds_left = -1;  // -1: not known yet
  bool operator==(const JobProgress&) const = default;
};

struct JobView {
  std::uint64_t id = 0;
  std::string name;
  std::string model;
  std::string user;
  std::int32_t priority = 0;
  JobState state = JobState::queued;
  std::string reason;  // why it waits, failed or was cancelled
  std::uint32_t place = 0;  // in the queue, from 1; 0: it does not wait
  std::uint32_t ranks = 0;
  std::int64_t submitted_unix_ms = 0;
  std::int64_t started_unix_ms = 0;  // the last time; 0: never
  std::int64_t ended_unix_ms = 0;
  std::uint32_t starts = 0;
  std::string error_code;
  Digest digest;  // of the work: equal jobs have equal ones; known once it has started
  std::optional<JobProgress> progress;
  std::vector<std::uint64_t> after;  // the jobs that must be done before it starts
  bool operator==(const JobView&) const = default;
};

struct JobList {
  std::vector<JobView> jobs;  // newest first
  std::uint32_t slots = 0;
  std::uint32_t slots_used = 0;
  std::uint32_t queued_max = 0;
  bool operator==(const JobList&) const = default;
};

struct BlockView {
  std::uint32_t block = 0;
  double seconds = 0;
  std::vector<LinearLoss> losses;
  bool operator==(const BlockView&) const = default;
};

struct ArtifactProgressView {
  std::string name;
  Method method = Method::gptq;
  std::uint32_t bits = 0;
  std::uint32_t blocks_done = 0;
  std::uint32_t blocks_total = 0;  // 0: not known before it has started
  Digest digest;  // once it is published
  double quantize_seconds = 0;
  std::vector<BlockView> blocks;
  bool operator==(const ArtifactProgressView&) const = default;
};

struct EvaluationProgressView {
  std::string artifact;
  std::string benchmark;
  std::string language;
  std::uint32_t done = 0;  // completions with a verdict
  std::uint32_t total = 0;  // 0: not known yet
  bool complete = false;
  bool operator==(const EvaluationProgressView&) const = default;
};

struct GpuView {
  std::string name;
  std::uint64_t used_bytes = 0;  // by all processes
  std::uint64_t total_bytes = 0;
  double watts = -1;  // -1: it has no meter
  bool operator==(const GpuView&) const = default;
};

struct WorkerView {
  std::string role;  // rank or evaluator
  std::int32_t number = 0;  // of the rank, or of the evaluator's slot; -1: it joined by itself
  std::string host;
  std::string isa;
  std::string work;
  std::uint64_t memory_bytes = 0;  // resident; 0: it has not said so yet
  std::vector<GpuView> gpus;  // that it may use
  double watts = -1;  // of its host's processors and memory; -1: no counter can be read
  std::string energy_note;  // why
  bool operator==(const WorkerView&) const = default;
};

struct JobDetail {
  JobView job;
  std::string phase;
  std::uint32_t attempt = 0;
  std::vector<ArtifactProgressView> artifacts;
  std::vector<EvaluationProgressView> evaluations;
  std::vector<WorkerView> workers;
  std::vector<JobMoved> history;
  bool operator==(const JobDetail&) const = default;
};

struct TokenView {
  std::string id;
  std::string user;
  std::vector<std::string> scopes;
  std::int64_t created_unix_ms = 0;
  std::int64_t expires_unix_ms = 0;
  std::int64_t revoked_unix_ms = 0;  // 0: it is not
  bool operator==(const TokenView&) const = default;
};

struct TokenList {
  std::vector<TokenView> tokens;
  bool operator==(const TokenList&) const = default;
};

struct TokenCreated {
  std::string token;  // shown this once
  TokenView view;
  bool operator==(const TokenCreated&) const = default;
};

struct CallerView {
  std::string user;
  std::vector<std::string> scopes;
  std::string via;  // socket or token
  std::uint32_t jobs = 0;  // waiting or at work
  std::uint32_t jobs_max = 0;
  std::uint64_t bytes = 0;  // of artifacts: published, and what jobs that wait or work will publish
  std::uint64_t bytes_max = 0;  // 0: no limit
  bool operator==(const CallerView&) const = default;
};

struct AuditEntry {
  std::int64_t unix_ms = 0;
  std::string by;
  std::string change;
  std::string subject;
  std::string reason;
  bool operator==(const AuditEntry&) const = default;
};

struct AuditLog {
  std::vector<AuditEntry> entries;  // oldest first
  bool operator==(const AuditLog&) const = default;
};

// --- Events -----------------------------------------------------------------------------------
struct ProgressEvent {
  std::uint64_t job = 0;
  JobProgress progress;
  bool operator==(const ProgressEvent&) const = default;
};

struct BlockEvent {
  std::uint64_t job = 0;
  std::string artifact;
  BlockView block;
  bool operator==(const BlockEvent&) const = default;
};

struct LogEvent {
  std::uint64_t job = 0;
  std::string text;
  bool operator==(const LogEvent&) const = default;
};

}  // namespace quench
