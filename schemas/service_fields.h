// The fields of the service's value types by their schema names, as value_fields.h has those of stored values.
#pragma once

#include "schemas/service_api.h"
#include "schemas/value_fields.h"

namespace quench {

#define QUENCH_FIELDS(Type)                        \
  template <typename Archive, ValueOf<Type> Value> \
  void fields(Archive& archive, Value& value)

QUENCH_FIELDS(LocalUser) {
  archive("user", value.user);
  archive("scopes", value.scopes);
}
QUENCH_FIELDS(ServeConfig) {
  archive("store", value.store);
  archive("socket", value.socket);
  archive("localUsers", value.local_users);
  archive("listen", value.listen);
  archive("tlsCertificate", value.tls_certificate);
  archive("tlsKey", value.tls_key);
  archive("allowedPaths", value.allowed_paths);
  archive("slots", value.slots);
  archive("gangsMax", value.gangs_max);
  archive("queuedMax", value.queued_max);
  archive("jobsPerUserMax", value.jobs_per_user_max);
  archive("threads", value.threads);
  archive("launcher", value.launcher);
  archive("connectionsMax", value.connections_max);
  archive("keepOrderSeconds", value.keep_order_seconds);
  archive("slurmTemplate", value.slurm_template);
  archive("workerListen", value.worker_listen);
  archive("plainNetwork", value.plain_network);
  archive("reconnectSeconds", value.reconnect_seconds);
  archive("bytesPerUserMax", value.bytes_per_user_max);
}
QUENCH_FIELDS(CancelRequest) {
  archive("reason", value.reason);
}
QUENCH_FIELDS(TokenRequest) {
  archive("user", value.user);
  archive("scopes", value.scopes);
  archive("days", value.days);
}
QUENCH_FIELDS(NameRequest) {
  archive("artifact", value.artifact);
}
QUENCH_FIELDS(ApiProblem) {
  archive("code", value.code);
  archive("message", value.message);
}
QUENCH_FIELDS(JobProgress) {
  archive("what", value.what);
  archive("done", value.done);
  archive("total", value.total);
  archive("step", value.step);
  archive("secondsLeft", value.seconds_left);
}
QUENCH_FIELDS(JobView) {
  archive("id", value.id);
  archive("name", value.name);
  archive("model", value.model);
  archive("user", value.user);
  archive("priority", value.priority);
  archive("state", value.state);
  archive("reason", value.reason);
  archive("place", value.place);
  archive("ranks", value.ranks);
  archive("submittedUnixMs", value.submitted_unix_ms);
  archive("startedUnixMs", value.started_unix_ms);
  archive("endedUnixMs", value.ended_unix_ms);
  archive("starts", value.starts);
  archive("errorCode", value.error_code);
  archive("digest", value.digest);
  archive("progress", value.progress);
  archive("after", value.after);
}
QUENCH_FIELDS(JobList) {
  archive("jobs", value.jobs);
  archive("slots", value.slots);
  archive("slotsUsed", value.slots_used);
  archive("queuedMax", value.queued_max);
}
QUENCH_FIELDS(BlockView) {
  archive("block", value.block);
  archive("seconds", value.seconds);
  archive("losses", value.losses);
}
QUENCH_FIELDS(ArtifactProgressView) {
  archive("name", value.name);
  archive("method", value.method);
  archive("bits", value.bits);
  archive("blocksDone", value.blocks_done);
  archive("blocksTotal", value.blocks_total);
  archive("digest", value.digest);
  archive("quantizeSeconds", value.quantize_seconds);
  archive("blocks", value.blocks);
}
QUENCH_FIELDS(EvaluationProgressView) {
  archive("artifact", value.artifact);
  archive("benchmark", value.benchmark);
  archive("language", value.language);
  archive("done", value.done);
  archive("total", value.total);
  archive("complete", value.complete);
}
QUENCH_FIELDS(GpuView) {
  archive("name", value.name);
  archive("usedBytes", value.used_bytes);
  archive("totalBytes", value.total_bytes);
  archive("watts", value.watts);
}
QUENCH_FIELDS(WorkerView) {
  archive("role", value.role);
  archive("number", value.number);
  archive("host", value.host);
  archive("isa", value.isa);
  archive("work", value.work);
  archive("memoryBytes", value.memory_bytes);
  archive("gpus", value.gpus);
  archive("watts", value.watts);
  archive("energyNote", value.energy_note);
}
QUENCH_FIELDS(JobDetail) {
  archive("job", value.job);
  archive("phase", value.phase);
  archive("attempt", value.attempt);
  archive("artifacts", value.artifacts);
  archive("evaluations", value.evaluations);
  archive("workers", value.workers);
  archive("history", value.history);
}
QUENCH_FIELDS(TokenView) {
  archive("id", value.id);
  archive("user", value.user);
  archive("scopes", value.scopes);
  archive("createdUnixMs", value.created_unix_ms);
  archive("expiresUnixMs", value.expires_unix_ms);
  archive("revokedUnixMs", value.revoked_unix_ms);
}
QUENCH_FIELDS(TokenList) {
  archive("tokens", value.tokens);
}
QUENCH_FIELDS(TokenCreated) {
  archive("token", value.token);
  archive("view", value.view);
}
QUENCH_FIELDS(CallerView) {
  archive("user", value.user);
  archive("scopes", value.scopes);
  archive("via", value.via);
  archive("jobs", value.jobs);
  archive("jobsMax", value.jobs_max);
  archive("bytes", value.bytes);
  archive("bytesMax", value.bytes_max);
}
QUENCH_FIELDS(AuditEntry) {
  archive("unixMs", value.unix_ms);
  archive("by", value.by);
  archive("change", value.change);
  archive("subject", value.subject);
  archive("reason", value.reason);
}
QUENCH_FIELDS(AuditLog) {
  archive("entries", value.entries);
}
QUENCH_FIELDS(ProgressEvent) {
  archive("job", value.job);
  archive("progress", value.progress);
}
QUENCH_FIELDS(BlockEvent) {
  archive("job", value.job);
  archive("artifact", value.artifact);
  archive("block", value.block);
}
QUENCH_FIELDS(LogEvent) {
  archive("job", value.job);
  archive("text", value.text);
}

#undef QUENCH_FIELDS

// Types that travel by themselves as JSON; the others are parts of these.
#define QUENCH_SERVICE_TYPES(apply)                                                                        \
  apply(ServeConfig) apply(CancelRequest) apply(TokenRequest) apply(NameRequest) apply(ApiProblem)         \
  apply(JobView) apply(JobList) apply(JobDetail) apply(TokenView) apply(TokenList) apply(TokenCreated)     \
  apply(CallerView) apply(AuditLog) apply(ProgressEvent) apply(BlockEvent) apply(LogEvent)

}  // namespace quench
