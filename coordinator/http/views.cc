#include "coordinator/http/views.h"

#include <algorithm>

#include "coordinator/overloaded.h"

namespace quench::coordinator {
namespace {

ArtifactProgressView artifact_view(const ArtifactProgress& progress, std::uint32_t blocks_total) {
  ArtifactProgressView view;
  view.name = progress.recipe.name;
  view.method = progress.recipe.method;
  view.bits = progress.recipe.bits;
  view.blocks_done = static_cast<std::uint32_t>(progress.blocks.size());
  view.blocks_total = std::max(blocks_total, progress.published ? view.blocks_done : 0u);
  if (progress.published) view.digest = *progress.published;
  view.quantize_seconds = progress.quantize_seconds;
  for (const BlockWritten& block : progress.blocks) {
    view.blocks.push_back({block.block, block.seconds, block.losses});
    if (!progress.published) view.quantize_seconds += block.seconds;
  }
  return view;
}

EvaluationProgressView evaluation_view(const State& state, const EvaluationProgress& evaluation) {
  const EvaluateSpec& spec = state.job.evaluate[evaluation.evaluation];
  EvaluationProgressView view;
  view.artifact = state.artifacts[evaluation.artifact].recipe.name;
  view.benchmark = spec.benchmark;
  view.language = spec.language;
  view.complete = evaluation.complete;
  if (evaluation.leases) {
    view.done = evaluation.leases->done();
    view.total = evaluation.leases->total();
  } else if (evaluation.opened) {
    const auto tasks = static_cast<std::uint32_t>(evaluation.opened->task_ids.size());
    view.total = (spec.tasks == 0 ? tasks : std::min(spec.tasks, tasks)) * spec.samples;
    if (evaluation.complete) view.done = view.total;
  }
  return view;
}

void add_status(WorkerView& worker, const std::optional<WorkerStatus>& status) {
  if (!status) return;
  worker.memory_bytes = status->resident_bytes;
  for (const GpuStatus& gpu : status->gpus) worker.gpus.push_back({gpu.name, gpu.used_bytes, gpu.total_bytes, gpu.watts});
  worker.watts = status->watts;
  worker.energy_note = status->energy_note;
}

void describe_workers(JobDetail& detail, const State& state) {
  for (const auto& [rank, connection] : state.ranks) {
    WorkerView worker;
    worker.role = "rank";
    worker.number = static_cast<std::int32_t>(rank);
    worker.host = connection.host;
    worker.isa = connection.isa;
    if (state.phase == Phase::quantizing) worker.work = state.artifacts[state.current].recipe.name;
    add_status(worker, connection.status);
    detail.workers.push_back(std::move(worker));
  }
  for (const auto& [connection, evaluator] : state.evaluators) {
    WorkerView worker;
    worker.role = "evaluator";
    worker.number = evaluator.slot ? static_cast<std::int32_t>(*evaluator.slot) : -1;
    worker.host = evaluator.host;
    if (evaluator.order) {
      const EvaluationProgress& evaluation = state.evaluations[*evaluator.order];
      worker.work = state.artifacts[evaluation.artifact].recipe.name + " " +
                    state.job.evaluate[evaluation.evaluation].benchmark;
    }
    add_status(worker, evaluator.status);
    detail.workers.push_back(std::move(worker));
  }
}

}  // namespace

JobView job_view(const QueueState& state, const QueueSurvey& queue, const QueuedJob& job, const JobRun* run) {
  JobView view;
  view.id = job.number;
  view.name = job.job.name;
  view.model = job.job.model;
  view.user = job.user;
  view.priority = job.priority;
  view.state = job.state;
  if (job.state != JobState::running) view.reason = job.reason;
  view.ranks = job.job.ranks;
  view.submitted_unix_ms = job.submitted_ms;
  view.started_unix_ms = job.started_ms;
  view.ended_unix_ms = job.ended_ms;
  view.starts = job.starts;
  view.error_code = job.error_code;
  view.digest = job.job_id;
  view.after = job.after;
  if (job.state == JobState::queued) {
    view.place = queue.places.at(job.number);
    view.reason = why_waiting(state, queue, job.number);
  }
  if (run != nullptr) view.progress = run->progress();
  return view;
}

void describe_state(JobDetail& detail, const State& state) {
  detail.phase = to_string(state.phase);
  detail.attempt = state.attempt.value;
  detail.artifacts.clear();
  for (const ArtifactProgress& artifact : state.artifacts)
    detail.artifacts.push_back(artifact_view(artifact, state.block_count));
  detail.evaluations.clear();
  for (const EvaluationProgress& evaluation : state.evaluations)
    detail.evaluations.push_back(evaluation_view(state, evaluation));
  describe_workers(detail, state);
}

void describe_plan(JobDetail& detail, const JobSpec& job) {
  for (const QuantizeSpec& recipe : artifact_recipes(job)) {
    ArtifactProgressView& view = detail.artifacts.emplace_back();
    view.name = recipe.name;
    view.method = recipe.method;
    view.bits = recipe.bits;
    for (const EvaluateSpec& spec : job.evaluate)
      detail.evaluations.push_back({recipe.name, spec.benchmark, spec.language, 0, 0, false});
  }
}

std::string_view to_string(Phase phase) {
  switch (phase) {
    case Phase::planned: return "planned";
    case Phase::gathering: return "gathering";
    case Phase::resuming: return "resuming";
    case Phase::quantizing: return "quantizing";
    case Phase::leaving: return "leaving";
    case Phase::waiting: return "waiting";
    case Phase::evaluating: return "evaluating";
    case Phase::dismissing: return "dismissing";
    case Phase::finished: return "finished";
    case Phase::failed: return "failed";
  }
  return "unknown";
}

AuditEntry audit_entry(const quench::JournalEvent& event) {
  return std::visit(
      Overloaded{
          [](const JobMoved& moved) {
            return AuditEntry{moved.unix_ms, moved.by.empty() ? "service" : moved.by,
                              moved.job ? "job submitted" : "job " + std::string(to_string(moved.to)),
                              std::to_string(moved.number), moved.reason};
          },
          [](const TokenChanged& token) {
            return AuditEntry{token.unix_ms, token.by, token.hash.is_none() ? "token revoked" : "token created",
                              token.id, token.user};
          },
          [](const NameChanged& name) {
            return AuditEntry{name.unix_ms, name.by, "name set", name.name, name.artifact.hex()};
          },
          [](const auto&) { return AuditEntry{}; },
      },
      event);
}

}  // namespace quench::coordinator
