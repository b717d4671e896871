// The fields of every stored or sent value type, written once: fields(archive, value) calls
// archive("fieldName", value.field) for each, with the field's name in the schema (*.capnp). Encoding,
// decoding and the tests' comparisons and random values are archives over this one list. A test counts
// the fields, so that a member added to a struct cannot be forgotten here.
#pragma once

#include <concepts>
#include <type_traits>

#include "schemas/artifact.h"
#include "schemas/ids.h"
#include "schemas/job_spec.h"
#include "schemas/journal.h"
#include "schemas/messages.h"

namespace quench {

// `T`, const when it is being read from.
template <typename V, typename T>
concept ValueOf = std::same_as<std::remove_const_t<V>, T>;

#define QUENCH_FIELDS(Type)                        \
  template <typename Archive, ValueOf<Type> Value> \
  void fields(Archive& archive, Value& value)

// --- job.capnp ------------------------------------------------------------------------------
QUENCH_FIELDS(QuantizeSpec) {
  archive("name", value.name);
  archive("method", value.method);
  archive("bits", value.bits);
  archive("groupSize", value.group_size);
  archive("symmetric", value.symmetric);
  archive("actOrder", value.act_order);
  archive("scaleRule", value.scale_rule);
  archive("damping", value.damping);
  archive("codebooks", value.codebooks);
  archive("codebookBits", value.codebook_bits);
  archive("tolerance", value.tolerance);
  archive("seed", value.seed);
  archive("fineTuning", value.fine_tuning);
  archive("fineTuneEpochs", value.fine_tune_epochs);
  archive("fineTuneBatch", value.fine_tune_batch);
  archive("learningRate", value.learning_rate);
  archive("patience", value.patience);
  archive("validationSequences", value.validation_sequences);
  archive("budgetGiB", value.budget_gib);
  archive("activations", value.activations);
  archive("endToEndLearningRate", value.end_to_end_learning_rate);
  archive("arithmetic", value.arithmetic);
}
QUENCH_FIELDS(CalibrationSpec) {
  archive("files", value.files);
  archive("sequences", value.sequences);
  archive("length", value.length);
  archive("seed", value.seed);
  archive("kind", value.kind);
  archive("set", value.set);
}
QUENCH_FIELDS(EvaluateSpec) {
  archive("benchmark", value.benchmark);
  archive("language", value.language);
  archive("samples", value.samples);
  archive("temperature", value.temperature);
  archive("topP", value.top_p);
  archive("topK", value.top_k);
  archive("maxTokens", value.max_tokens);
  archive("seed", value.seed);
  archive("tasks", value.tasks);
  archive("promptForm", value.prompt_form);
  archive("cut", value.cut);
  archive("tokenBudget", value.token_budget);
  archive("chat", value.chat);
  archive("timeoutSeconds", value.timeout_seconds);
  archive("sandbox", value.sandbox);
  archive("arithmetic", value.arithmetic);
}
QUENCH_FIELDS(JobSpec) {
  archive("name", value.name);
  archive("model", value.model);
  archive("baseline", value.baseline);
  archive("quantize", value.quantize);
  archive("calibration", value.calibration);
  archive("evaluate", value.evaluate);
  archive("ranks", value.ranks);
  archive("threads", value.threads);
  archive("protocol", value.protocol);
  archive("modelName", value.model_name);
  archive("apiKeyVariable", value.api_key_variable);
  archive("concurrency", value.concurrency);
  archive("requestSeconds", value.request_seconds);
  archive("requestTries", value.request_tries);
}

// --- artifact.capnp -------------------------------------------------------------------------
QUENCH_FIELDS(ChunkRef) {
  archive("digest", value.digest);
  archive("bytes", value.bytes);
}
QUENCH_FIELDS(TensorRecord) {
  archive("name", value.name);
  archive("layout", value.layout);
  archive("dtype", value.dtype);
  archive("shape", value.shape);
  archive("bits", value.bits);
  archive("groupSize", value.group_size);
  archive("rowsPerTile", value.rows_per_tile);
  archive("chunks", value.chunks);
  archive("permutation", value.permutation);
  archive("codebooks", value.codebooks);
  archive("activations", value.activations);
  archive("activationScale", value.activation_scale);
}
QUENCH_FIELDS(BitChoice) {
  archive("tensor", value.tensor);
  archive("bits", value.bits);
  archive("groupSize", value.group_size);
}
QUENCH_FIELDS(FileRecord) {
  archive("name", value.name);
  archive("chunk", value.chunk);
}
QUENCH_FIELDS(LinearLoss) {
  archive("tensor", value.tensor);
  archive("loss", value.loss);
  archive("relativeLoss", value.relative_loss);
}
QUENCH_FIELDS(LeftOut) {
  archive("reason", value.reason);
  archive("documents", value.documents);
}
QUENCH_FIELDS(CalibrationRecord) {
  archive("kind", value.kind);
  archive("sequences", value.sequences);
  archive("length", value.length);
  archive("seed", value.seed);
  archive("tokenizer", value.tokenizer);
  archive("windows", value.windows);
  archive("filesPerRepository", value.files_per_repository);
  archive("scoreMin", value.score_min);
  archive("benchmarks", value.benchmarks);
  archive("documentsRead", value.documents_read);
  archive("documentsUsed", value.documents_used);
  archive("leftOut", value.left_out);
}
QUENCH_FIELDS(Manifest) {
  archive("formatVersion", value.format_version);
  archive("source", value.source);
  archive("calibration", value.calibration);
  archive("recipe", value.recipe);
  archive("files", value.files);
  archive("tensors", value.tensors);
  archive("losses", value.losses);
  archive("endpointUrl", value.endpoint_url);
  archive("endpointModel", value.endpoint_model);
  archive("calibrationSet", value.calibration_set);
  archive("set", value.set);
}
QUENCH_FIELDS(RunRecord) {
  archive("artifact", value.artifact);
  archive("jobName", value.job_name);
  archive("quantizeSeconds", value.quantize_seconds);
  archive("ranks", value.ranks);
  archive("threads", value.threads);
  archive("build", value.build);
  archive("isa", value.isa);
  archive("hosts", value.hosts);
  archive("finishedUnixMs", value.finished_unix_ms);
  archive("attempts", value.attempts);
  archive("replayedBlocks", value.replayed_blocks);
}
QUENCH_FIELDS(EnergyReading) {
  archive("counter", value.counter);
  archive("joules", value.joules);
  archive("seconds", value.seconds);
  archive("idleWatts", value.idle_watts);
}
QUENCH_FIELDS(PhaseUsage) {
  archive("host", value.host);
  archive("rank", value.rank);
  archive("attempt", value.attempt);
  archive("seconds", value.seconds);
  archive("weightBytes", value.weight_bytes);
  archive("loadGrowthBytes", value.load_growth_bytes);
  archive("residentPeakBytes", value.resident_peak_bytes);
  archive("energy", value.energy);
  archive("energyNote", value.energy_note);
}
QUENCH_FIELDS(Verdict) {
  archive("task", value.task);
  archive("sample", value.sample);
  archive("result", value.result);
  archive("completion", value.completion);
  archive("tokens", value.tokens);
  archive("cpuSeconds", value.cpu_seconds);
  archive("detail", value.detail);
  archive("isolated", value.isolated);
  archive("confinement", value.confinement);
  archive("output", value.output);
}
QUENCH_FIELDS(EvaluationKey) {
  archive("artifact", value.artifact);
  archive("benchmark", value.benchmark);
  archive("spec", value.spec);
}

// --- wire.capnp -----------------------------------------------------------------------------
QUENCH_FIELDS(RankId) {
  archive("rank", value.rank);
  archive("world", value.world);
}
QUENCH_FIELDS(Challenge) {
  archive("nonce", value.nonce);
  archive("build", value.build);
}
QUENCH_FIELDS(Hello) {
  archive("build", value.build);
  archive("role", value.role);
  archive("rank", value.rank);
  archive("host", value.host);
  archive("pid", value.pid);
  archive("isa", value.isa);
  archive("proof", value.proof);
}
QUENCH_FIELDS(Welcome) {
  archive("heartbeatMs", value.heartbeat_ms);
  archive("silenceMsMax", value.silence_ms_max);
}
QUENCH_FIELDS(Refused) {
  archive("code", value.code);
  archive("message", value.message);
}
QUENCH_FIELDS(Heartbeat) { (void)archive, (void)value; }
QUENCH_FIELDS(QuantizeOrder) {
  archive("job", value.job);
  archive("jobId", value.job_id);
  archive("source", value.source);
  archive("calibration", value.calibration);
  archive("artifact", value.artifact);
  archive("firstBlock", value.first_block);
  archive("outerCommitted", value.outer_committed);
  archive("scratchDir", value.scratch_dir);
  archive("committed", value.committed);
  archive("choices", value.choices);
}
QUENCH_FIELDS(EvaluateOrder) {
  archive("job", value.job);
  archive("artifact", value.artifact);
  archive("evaluation", value.evaluation);
  archive("cacheDir", value.cache_dir);
  archive("number", value.number);
}
QUENCH_FIELDS(ExitOrder) { (void)archive, (void)value; }
QUENCH_FIELDS(ChunkPut) { archive("digest", value.digest); }
QUENCH_FIELDS(ChunkStored) { archive("count", value.count); }
QUENCH_FIELDS(OuterDone) {
  archive("artifact", value.artifact);
  archive("calibration", value.calibration);
  archive("files", value.files);
  archive("tensors", value.tensors);
  archive("choices", value.choices);
}
QUENCH_FIELDS(BlockDone) {
  archive("artifact", value.artifact);
  archive("block", value.block);
  archive("tensors", value.tensors);
  archive("losses", value.losses);
  archive("seconds", value.seconds);
  archive("replayed", value.replayed);
}
QUENCH_FIELDS(BlockCommitted) {
  archive("artifact", value.artifact);
  archive("block", value.block);
}
QUENCH_FIELDS(ArtifactDone) {
  archive("artifact", value.artifact);
  archive("seconds", value.seconds);
  archive("replayedBlocks", value.replayed_blocks);
}
QUENCH_FIELDS(Progress) {
  archive("artifact", value.artifact);
  archive("block", value.block);
  archive("step", value.step);
}
QUENCH_FIELDS(Failure) {
  archive("code", value.code);
  archive("message", value.message);
}
QUENCH_FIELDS(LogLine) {
  archive("level", value.level);
  archive("text", value.text);
}
QUENCH_FIELDS(BenchmarkInfo) {
  archive("digest", value.digest);
  archive("taskIds", value.task_ids);
  archive("number", value.number);
}
QUENCH_FIELDS(MadeText) {
  archive("task", value.task);
  archive("sample", value.sample);
  archive("text", value.text);
  archive("tokens", value.tokens);
}
QUENCH_FIELDS(LeaseRequest) {
  archive("itemsMax", value.items_max);
  archive("number", value.number);
  archive("lease", value.lease);
  archive("made", value.made);
}
QUENCH_FIELDS(LeaseItem) {
  archive("task", value.task);
  archive("sample", value.sample);
}
QUENCH_FIELDS(LeaseGrant) {
  archive("lease", value.lease);
  archive("deadlineMs", value.deadline_ms);
  archive("items", value.items);
  archive("made", value.made);
}
QUENCH_FIELDS(LeaseRenewal) {
  archive("lease", value.lease);
  archive("number", value.number);
}
QUENCH_FIELDS(VerdictsDone) {
  archive("lease", value.lease);
  archive("verdicts", value.verdicts);
  archive("number", value.number);
}
QUENCH_FIELDS(UsageDone) {
  archive("artifact", value.artifact);
  archive("evaluation", value.evaluation);
  archive("usage", value.usage);
  archive("published", value.published);
}
QUENCH_FIELDS(UsageKept) { (void)archive, (void)value; }
QUENCH_FIELDS(GpuStatus) {
  archive("name", value.name);
  archive("usedBytes", value.used_bytes);
  archive("totalBytes", value.total_bytes);
  archive("watts", value.watts);
}
QUENCH_FIELDS(WorkerStatus) {
  archive("residentBytes", value.resident_bytes);
  archive("gpus", value.gpus);
  archive("watts", value.watts);
  archive("energyNote", value.energy_note);
}
QUENCH_FIELDS(Resuming) { archive("orders", value.orders); }
QUENCH_FIELDS(Resumed) {
  archive("artifact", value.artifact);
  archive("blocks", value.blocks);
  archive("outerCommitted", value.outer_committed);
}
QUENCH_FIELDS(ManifestRequest) { archive("ref", value.ref); }
QUENCH_FIELDS(ManifestReply) {
  archive("digest", value.digest);
  archive("manifest", value.manifest);
}
QUENCH_FIELDS(ChunkRequest) { archive("digest", value.digest); }
QUENCH_FIELDS(ChunkReply) { archive("digest", value.digest); }
QUENCH_FIELDS(StoreCommand) { archive("arguments", value.arguments); }
QUENCH_FIELDS(StoreReply) {
  archive("exitCode", value.exit_code);
  archive("out", value.out);
  archive("err", value.err);
}
QUENCH_FIELDS(RequestFailed) {
  archive("code", value.code);
  archive("message", value.message);
}

// --- journal.capnp --------------------------------------------------------------------------
QUENCH_FIELDS(JobAccepted) {
  archive("job", value.job);
  archive("source", value.source);
}
QUENCH_FIELDS(AttemptStarted) {
  archive("attempt", value.attempt);
  archive("ranks", value.ranks);
  archive("unixMs", value.unix_ms);
}
QUENCH_FIELDS(GangStarted) {
  archive("attempt", value.attempt);
  archive("folder", value.folder);
}
QUENCH_FIELDS(AttemptEnded) {
  archive("attempt", value.attempt);
  archive("reason", value.reason);
}
QUENCH_FIELDS(OuterCommitted) {
  archive("artifact", value.artifact);
  archive("calibration", value.calibration);
  archive("files", value.files);
  archive("tensors", value.tensors);
  archive("choices", value.choices);
}
QUENCH_FIELDS(BlockWritten) {
  archive("artifact", value.artifact);
  archive("block", value.block);
  archive("tensors", value.tensors);
  archive("losses", value.losses);
  archive("seconds", value.seconds);
}
QUENCH_FIELDS(ArtifactPublished) {
  archive("artifact", value.artifact);
  archive("digest", value.digest);
  archive("quantizeSeconds", value.quantize_seconds);
}
QUENCH_FIELDS(EvaluationOpened) {
  archive("artifact", value.artifact);
  archive("evaluation", value.evaluation);
  archive("benchmark", value.benchmark);
  archive("taskIds", value.task_ids);
}
QUENCH_FIELDS(JobFinished) { (void)archive, (void)value; }
QUENCH_FIELDS(JobMoved) {
  archive("number", value.number);
  archive("to", value.to);
  archive("reason", value.reason);
  archive("by", value.by);
  archive("unixMs", value.unix_ms);
  archive("job", value.job);
  archive("priority", value.priority);
  archive("jobId", value.job_id);
  archive("errorCode", value.error_code);
  archive("rankSeconds", value.rank_seconds);
  archive("plannedBytes", value.planned_bytes);
  archive("after", value.after);
}
QUENCH_FIELDS(TokenChanged) {
  archive("id", value.id);
  archive("user", value.user);
  archive("scopes", value.scopes);
  archive("hash", value.hash);
  archive("expiresUnixMs", value.expires_unix_ms);
  archive("by", value.by);
  archive("unixMs", value.unix_ms);
}
QUENCH_FIELDS(NameChanged) {
  archive("name", value.name);
  archive("artifact", value.artifact);
  archive("by", value.by);
  archive("unixMs", value.unix_ms);
}

#undef QUENCH_FIELDS

// --- The alternatives of the two unions, by their names in the schema ---------------------------
template <typename Alternative>
inline constexpr const char* kAlternativeName = nullptr;

#define QUENCH_ALTERNATIVE(Type, name) \
  template <>                          \
  inline constexpr const char* kAlternativeName<Type> = name;

QUENCH_ALTERNATIVE(Challenge, "challenge")
QUENCH_ALTERNATIVE(Hello, "hello")
QUENCH_ALTERNATIVE(Welcome, "welcome")
QUENCH_ALTERNATIVE(Refused, "refused")
QUENCH_ALTERNATIVE(Heartbeat, "heartbeat")
QUENCH_ALTERNATIVE(QuantizeOrder, "quantizeOrder")
QUENCH_ALTERNATIVE(EvaluateOrder, "evaluateOrder")
QUENCH_ALTERNATIVE(ExitOrder, "exitOrder")
QUENCH_ALTERNATIVE(ChunkPut, "chunkPut")
QUENCH_ALTERNATIVE(ChunkStored, "chunkStored")
QUENCH_ALTERNATIVE(OuterDone, "outerDone")
QUENCH_ALTERNATIVE(BlockDone, "blockDone")
QUENCH_ALTERNATIVE(BlockCommitted, "blockCommitted")
QUENCH_ALTERNATIVE(ArtifactDone, "artifactDone")
QUENCH_ALTERNATIVE(Progress, "progress")
QUENCH_ALTERNATIVE(Failure, "failure")
QUENCH_ALTERNATIVE(LogLine, "logLine")
QUENCH_ALTERNATIVE(BenchmarkInfo, "benchmarkInfo")
QUENCH_ALTERNATIVE(LeaseRequest, "leaseRequest")
QUENCH_ALTERNATIVE(LeaseGrant, "leaseGrant")
QUENCH_ALTERNATIVE(VerdictsDone, "verdictsDone")
QUENCH_ALTERNATIVE(ManifestRequest, "manifestRequest")
QUENCH_ALTERNATIVE(ManifestReply, "manifestReply")
QUENCH_ALTERNATIVE(ChunkRequest, "chunkRequest")
QUENCH_ALTERNATIVE(ChunkReply, "chunkReply")
QUENCH_ALTERNATIVE(StoreCommand, "storeCommand")
QUENCH_ALTERNATIVE(StoreReply, "storeReply")
QUENCH_ALTERNATIVE(RequestFailed, "requestFailed")
QUENCH_ALTERNATIVE(LeaseRenewal, "leaseRenewal")
QUENCH_ALTERNATIVE(UsageDone, "usageDone")
QUENCH_ALTERNATIVE(UsageKept, "usageKept")
QUENCH_ALTERNATIVE(Resuming, "resuming")
QUENCH_ALTERNATIVE(Resumed, "resumed")
QUENCH_ALTERNATIVE(WorkerStatus, "workerStatus")
QUENCH_ALTERNATIVE(JobAccepted, "jobAccepted")
QUENCH_ALTERNATIVE(AttemptStarted, "attemptStarted")
QUENCH_ALTERNATIVE(AttemptEnded, "attemptEnded")
QUENCH_ALTERNATIVE(OuterCommitted, "outerCommitted")
QUENCH_ALTERNATIVE(BlockWritten, "blockWritten")
QUENCH_ALTERNATIVE(ArtifactPublished, "artifactPublished")
QUENCH_ALTERNATIVE(EvaluationOpened, "evaluationOpened")
QUENCH_ALTERNATIVE(JobFinished, "jobFinished")
QUENCH_ALTERNATIVE(JobMoved, "jobMoved")
QUENCH_ALTERNATIVE(TokenChanged, "tokenChanged")
QUENCH_ALTERNATIVE(NameChanged, "nameChanged")
QUENCH_ALTERNATIVE(GangStarted, "gangStarted")

#undef QUENCH_ALTERNATIVE

}  // namespace quench
