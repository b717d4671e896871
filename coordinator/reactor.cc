#include "coordinator/reactor.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "coordinator/fan_out.h"
#include "coordinator/overloaded.h"
#include "coordinator/phase_usage.h"
#include "coordinator/routes.h"
#include "schemas/codec.h"
#include "schemas/endpoint_url.h"

namespace quench::coordinator {
namespace {

void apply(State& state, const quench::JournalEvent& event) {
  const auto artifact = [&](std::uint32_t index) -> ArtifactProgress& {
    if (index >= state.artifacts.size())
      throw Error(ErrorCode::corrupt, "the journal names artifact " + std::to_string(index) + " of " +
                                          std::to_string(state.artifacts.size()));
    return state.artifacts[index];
  };
  std::visit(Overloaded{
                 [&](const JobAccepted&) {},
                 [&](const AttemptStarted& started) {
                   state.attempt.value = started.attempt;
                   state.left_gang.clear();
                 },
                 [&](const GangStarted& gang) { state.left_gang = gang.folder; },
                 [&](const AttemptEnded&) { state.left_gang.clear(); },
                 [&](const OuterCommitted& outer) {
                   artifact(outer.artifact).outer = outer;
                   if (!outer.calibration.is_none()) state.calibration = outer.calibration;
                 },
                 [&](const BlockWritten& block) {
                   ArtifactProgress& progress = artifact(block.artifact);
                   if (block.block != progress.blocks.size())
                     throw Error(ErrorCode::corrupt, "the journal has block " + std::to_string(block.block) +
                                                         " after " + std::to_string(progress.blocks.size()) +
                                                         " blocks");
                   progress.blocks.push_back(block);
                 },
                 [&](const ArtifactPublished& published) {
                   artifact(published.artifact).published = published.digest;
                   artifact(published.artifact).quantize_seconds = published.quantize_seconds;
                 },
                 [&](const EvaluationOpened& opened) {
                   for (EvaluationProgress& evaluation : state.evaluations)
                     if (evaluation.artifact == opened.artifact && evaluation.evaluation == opened.evaluation)
                       evaluation.opened = opened;
                 },
                 // The service's own, which stand in its own journal.
                 [](const JobMoved&) {}, [](const TokenChanged&) {}, [](const NameChanged&) {},
                 [&](const JobFinished&) {
                   for (EvaluationProgress& evaluation : state.evaluations) evaluation.complete = true;
                   state.phase = Phase::finished;
                 },
             },
             event);
}

void broadcast(State& state, Outbox& outbox, const Message& message) {
  for (const auto& [rank, connection] : state.ranks) outbox.send(connection.connection, message);
}

std::optional<std::uint32_t> rank_of(const State& state, ConnectionId connection) {
  for (const auto& [rank, entry] : state.ranks)
    if (entry.connection == connection) return rank;
  return std::nullopt;
}

std::string label(const State& state, std::uint32_t artifact) {
  return state.artifacts[artifact].recipe.name;
}

QuantizeOrder quantize_order(const State& state, std::uint32_t index) {
  const ArtifactProgress& progress = state.artifacts[index];
  QuantizeOrder order;
  order.job = state.job;
  order.job_id = state.job_id;
  order.source = state.source;
  order.calibration = state.calibration;
  order.artifact = index;
  order.first_block = static_cast<std::uint32_t>(progress.blocks.size());
  order.outer_committed = progress.outer.has_value();
  if (progress.outer) order.choices = progress.outer->choices;
  order.scratch_dir = state.scratch_dir;
  for (const BlockWritten& block : progress.blocks)
    order.committed.insert(order.committed.end(), block.tensors.begin(), block.tensors.end());
  return order;
}

// Sends the next order to the whole gang, or lets it go when every artifact is published: what is left
// then needs no MPI, and no gang that dies as a whole.
void give_next_order(State& state, Outbox& outbox) {
  for (std::uint32_t index = 0; index < state.artifacts.size(); ++index) {
    if (state.artifacts[index].published) continue;
    state.phase = Phase::quantizing;
    state.current = index;
    const auto done = static_cast<std::uint32_t>(state.artifacts[index].blocks.size());
    if (done > 0) outbox.tell(label(state, index) + ": going on after block " + std::to_string(done - 1));
    outbox.show_progress(label(state, index), done, state.block_count);
    broadcast(state, outbox, quantize_order(state, index));
    return;
  }
  state.phase = Phase::leaving;
  broadcast(state, outbox, ExitOrder{});
}

// A gang that was taken over is at work, or has only an order to get that its last coordinator did not send any more.
void resume_ranks(State& state, Outbox& outbox) {
  const auto unpublished = std::find_if(state.artifacts.begin(), state.artifacts.end(),
                                        [](const ArtifactProgress& artifact) { return !artifact.published; });
  const bool over = unpublished == state.artifacts.end();
  state.phase = over ? Phase::leaving : Phase::quantizing;
  Resumed resumed;
  if (over) {
    resumed.artifact = static_cast<std::uint32_t>(state.artifacts.size());
  } else {
    resumed.artifact = state.current = static_cast<std::uint32_t>(unpublished - state.artifacts.begin());
    resumed.blocks = static_cast<std::uint32_t>(unpublished->blocks.size());
    resumed.outer_committed = unpublished->outer.has_value();
    outbox.show_progress(label(state, state.current), resumed.blocks, state.block_count);
  }
  for (auto& [rank, connection] : state.ranks) {
    const std::optional<std::uint32_t> orders = std::exchange(connection.orders, std::nullopt);
    if (!orders) continue;
    outbox.send(connection.connection, resumed);
    if (over && *orders < kAllOrders) outbox.send(connection.connection, ExitOrder{});
    if (!over && *orders <= state.current) outbox.send(connection.connection, quantize_order(state, state.current));
  }
}

void on_resuming(State& state, Outbox& outbox, std::uint32_t rank, const Resuming& resuming) {
  if (state.phase != Phase::resuming && state.phase != Phase::leaving) return;  // of a gang that was just started
  state.ranks.at(rank).orders = resuming.orders;
  // Of a gang whose work is done some ranks may be gone.
  if (state.phase == Phase::leaving) return resume_ranks(state, outbox);
  const bool all = state.ranks.size() == state.job.ranks &&
                   std::all_of(state.ranks.begin(), state.ranks.end(), [](const auto& entry) { return entry.second.orders; });
  if (!all) return;
  outbox.tell("all " + std::to_string(state.job.ranks) + " ranks of attempt " + std::to_string(state.attempt.value) +
              " are back and go on");
  resume_ranks(state, outbox);
}

void fail_job(State& state, Outbox& outbox, JobFailure failure) {
  if (!state.failure) state.failure = std::move(failure);
  state.phase = Phase::failed;
  outbox.stop_gang(state.failure->message);
}

bool all_published(const State& state) {
  return std::all_of(state.artifacts.begin(), state.artifacts.end(),
                     [](const ArtifactProgress& artifact) { return artifact.published.has_value(); });
}

bool is_awaiting_ranks(const State& state) {
  return state.phase == Phase::gathering || state.phase == Phase::resuming;
}

void start_attempt(State& state, Outbox& outbox) {
  ++state.attempt.value;
  state.ranks.clear();
  state.first_failure.reset();
  state.progress_in_attempt = false;
  state.phase = Phase::gathering;
  state.gathering_deadline = state.now + kGatheringMsMax;
  outbox.record(AttemptStarted{state.attempt.value, state.job.ranks, 0}, {});
  outbox.start_gang(state.attempt);
}

void note_progress(State& state) {
  state.progress_in_attempt = true;
  state.attempts_without_progress = 0;
}

std::vector<Digest> chunks_of(const std::vector<TensorRecord>& tensors,
                              const std::vector<FileRecord>& files) {
  std::vector<Digest> digests;
  for (const TensorRecord& tensor : tensors) {
    for (const ChunkRef& chunk : tensor.chunks) digests.push_back(chunk.digest);
    if (!tensor.permutation.digest.is_none()) digests.push_back(tensor.permutation.digest);
  }
  for (const FileRecord& file : files) digests.push_back(file.chunk.digest);
  return digests;
}

[[noreturn]] void out_of_order(const std::string& what) {
  throw Error(ErrorCode::bad_input, what + " came out of order");
}

ArtifactProgress& current_artifact(State& state, std::uint32_t named, const std::string& what) {
  if (state.phase != Phase::quantizing || named != state.current) out_of_order(what);
  return state.artifacts[named];
}

// A rank 0 whose coordinator died between commit and answer sends the block again: the same, or an error.
bool arrived_before(const ArtifactProgress& progress, const BlockDone& done) {
  if (done.block >= progress.blocks.size()) return false;
  const BlockWritten& first = progress.blocks[done.block];
  if (first.tensors != done.tensors || first.losses != done.losses)
    out_of_order("block " + std::to_string(done.block) + " a second time, and other than the first,");
  return true;
}

void on_outer_done(State& state, Outbox& outbox, ConnectionId from, const OuterDone& done) {
  ArtifactProgress& progress = current_artifact(state, done.artifact, "OuterDone");
  if (progress.outer) {
    const OuterCommitted again{done.artifact, done.calibration, done.files, done.tensors, done.choices};
    if (again != *progress.outer) out_of_order("a second OuterDone, and other than the first,");
    return outbox.send(from, BlockCommitted{done.artifact, kOuterBlock});
  }
  if (!done.calibration.is_none() && !state.calibration.is_none() && done.calibration != state.calibration)
    throw Error(ErrorCode::bad_input, "the calibration windows changed since the job began (" +
                                          state.calibration.short_hex() + " then, " +
                                          done.calibration.short_hex() +
                                          " now): restore the calibration files or run under another name");
  for (const TensorRecord& tensor : done.tensors) check_tensor_record(tensor);
  OuterCommitted outer{done.artifact, done.calibration, done.files, done.tensors, done.choices};
  outbox.record(outer, chunks_of(done.tensors, done.files));
  if (!done.calibration.is_none()) state.calibration = done.calibration;
  progress.outer = std::move(outer);
  note_progress(state);
  broadcast(state, outbox, BlockCommitted{done.artifact, kOuterBlock});
}

void on_block_done(State& state, Outbox& outbox, ConnectionId from, const BlockDone& done) {
  ArtifactProgress& progress = current_artifact(state, done.artifact, "BlockDone");
  if (arrived_before(progress, done)) return outbox.send(from, BlockCommitted{done.artifact, done.block});
  if (!progress.outer || done.block != progress.blocks.size() || done.block >= state.block_count)
    out_of_order("BlockDone of block " + std::to_string(done.block));
  for (const TensorRecord& tensor : done.tensors) check_tensor_record(tensor);
  BlockWritten block{done.artifact, done.block, done.tensors, done.losses, done.seconds};
  outbox.record(block, chunks_of(done.tensors, {}));
  progress.blocks.push_back(std::move(block));
  note_progress(state);
  broadcast(state, outbox, BlockCommitted{done.artifact, done.block});
  outbox.show_progress(label(state, done.artifact), done.block + 1, state.block_count);
}

Manifest assemble_manifest(const State& state, const ArtifactProgress& progress) {
  Manifest manifest;
  manifest.source = state.source;
  manifest.calibration = progress.outer->calibration;
  if (!manifest.calibration.is_none() && !state.job.calibration.set.empty())
    manifest.calibration_set = Digest::from_hex(state.job.calibration.set);
  manifest.recipe = progress.recipe;
  manifest.recipe.name.clear();
  manifest.files = progress.outer->files;
  manifest.tensors = progress.outer->tensors;
  for (const BlockWritten& block : progress.blocks) {
    manifest.tensors.insert(manifest.tensors.end(), block.tensors.begin(), block.tensors.end());
    manifest.losses.insert(manifest.losses.end(), block.losses.begin(), block.losses.end());
  }
  return manifest;
}

// A model that is served elsewhere is an artifact too, so that verdicts have a key and reports a line: a
// manifest without tensors, named by the place.
void publish_endpoint(State& state, Outbox& outbox) {
  ArtifactProgress& progress = state.artifacts.at(0);
  if (progress.published) return;
  Manifest manifest;
  manifest.source = state.source;
  manifest.recipe = progress.recipe;
  manifest.recipe.name.clear();
  manifest.endpoint_url = state.job.model;
  manifest.endpoint_model = state.job.model_name;
  RunRecord run;
  run.job_name = state.job.name;
  run.build = state.build;
  const std::string name = artifact_ref(state.job, progress.recipe);
  progress.published = outbox.publish(name, manifest, run, 0);
  outbox.tell(name + "  " + progress.published->short_hex() + ": served at " + state.job.model +
              ", so this digest names a place and not weights");
}

void on_artifact_done(State& state, Outbox& outbox, const ArtifactDone& done) {
  // Published by an earlier coordinator, whose next order did not arrive any more.
  if (done.artifact < state.artifacts.size() && state.artifacts[done.artifact].published) return;
  ArtifactProgress& progress = current_artifact(state, done.artifact, "ArtifactDone");
  if (!progress.outer || progress.blocks.size() != state.block_count) out_of_order("ArtifactDone");
  for (const BlockWritten& block : progress.blocks) progress.quantize_seconds += block.seconds;
  state.replayed_blocks += done.replayed_blocks;
  RunRecord run;
  run.job_name = state.job.name;
  run.quantize_seconds = progress.quantize_seconds;
  run.ranks = state.job.ranks;
  run.threads = state.job.threads;
  run.build = state.build;
  run.attempts = state.attempt.value;
  run.replayed_blocks = done.replayed_blocks;
  for (const auto& [rank, connection] : state.ranks) {
    run.isa = connection.isa;
    if (std::find(run.hosts.begin(), run.hosts.end(), connection.host) == run.hosts.end())
      run.hosts.push_back(connection.host);
  }
  const std::string name = artifact_ref(state.job, progress.recipe);
  progress.published = outbox.publish(name, assemble_manifest(state, progress), run, done.artifact);
  outbox.tell("published " + name + "  " + progress.published->short_hex());
  give_next_order(state, outbox);
  serve_evaluators(state, outbox);  // those that joined early
}

void on_failure(State& state, Outbox& outbox, std::uint32_t rank, const Failure& failure) {
  if (!state.first_failure)
    state.first_failure = JobFailure{failure.code, "rank " + std::to_string(rank) + ": " + failure.message};
  outbox.tell("rank " + std::to_string(rank) + " fails: " + failure.message);
}

}  // namespace

std::string artifact_ref(const JobSpec& job, const QuantizeSpec& recipe) {
  return job.name + "/" + recipe.name;
}

State open_job(const JobSpec& job, const Digest& job_id, const Digest& source, std::uint32_t block_count,
               const std::vector<quench::JournalEvent>& history) {
  State state;
  state.job = job;
  state.job_id = job_id;
  state.source = source;
  state.block_count = block_count;
  for (const QuantizeSpec& recipe : artifact_recipes(job)) {
    state.artifacts.emplace_back().recipe = recipe;
  }
  // Artifact by artifact, so that a worker loads each model once.
  for (std::uint32_t artifact = 0; artifact < state.artifacts.size(); ++artifact)
    for (std::uint32_t evaluation = 0; evaluation < job.evaluate.size(); ++evaluation) {
      EvaluationProgress& progress = state.evaluations.emplace_back();
      progress.artifact = artifact;
      progress.evaluation = evaluation;
    }
  for (const quench::JournalEvent& event : history) apply(state, event);
  return state;
}

bool is_complete(const State& state) { return state.phase == Phase::finished; }

void on_start(State& state, Outbox& outbox) {
  QUENCH_CHECK(state.phase == Phase::planned);
  if (is_endpoint(state.job.model)) publish_endpoint(state, outbox);
  if (!state.left_gang.empty()) {
    if (outbox.adopt_gang()) {
      outbox.tell("the gang of attempt " + std::to_string(state.attempt.value) + " goes on; its ranks are awaited");
      state.phase = all_published(state) ? Phase::leaving : Phase::resuming;
      state.gathering_deadline = state.now + kGatheringMsMax;
      return;
    }
    outbox.record(AttemptEnded{state.attempt.value, "it ended while there was no coordinator"}, {});
    state.left_gang.clear();
  }
  if (all_published(state)) return begin_evaluating(state, outbox);
  start_attempt(state, outbox);
}

void on_rank_joined(State& state, Outbox& outbox, ConnectionId connection, const Hello& hello) {
  if (state.phase == Phase::failed || state.phase == Phase::waiting) return;  // of a gang that ends
  const bool taken_over = state.phase == Phase::resuming || state.phase == Phase::leaving;
  if (state.phase != Phase::gathering && !taken_over) out_of_order("a rank's hello");
  // Of an allocation that has another size than was wished for.
  if (state.ranks.empty()) state.job.ranks = hello.rank.world;
  state.ranks[hello.rank.rank] = RankConnection{connection, hello.host, hello.isa, {}, {}};
  if (!taken_over && state.ranks.size() == state.job.ranks) give_next_order(state, outbox);
}

void on_rank_message(State& state, Outbox& outbox, ConnectionId connection, const Message& message) {
  const std::optional<std::uint32_t> rank = rank_of(state, connection);
  if (!rank || state.phase == Phase::failed || state.phase == Phase::waiting) return;  // of a gang that ends
  try {
    if (!may_send(PeerRole::rank, message)) out_of_order("a message that ranks do not send");
    std::visit(
        Overloaded{
            [&](const OuterDone& done) { on_outer_done(state, outbox, connection, done); },
            [&](const BlockDone& done) { on_block_done(state, outbox, connection, done); },
            [&](const ArtifactDone& done) { on_artifact_done(state, outbox, done); },
            [&](const Progress&) {},
            [&](const WorkerStatus& status) { state.ranks.at(*rank).status = status; },
            [&](const Resuming& resuming) { on_resuming(state, outbox, *rank, resuming); },
            [&](const UsageDone& done) {
              keep_phase_usage(state, outbox, connection, state.ranks.at(*rank).host, *rank, done);
            },
            [&](const Failure& failure) { on_failure(state, outbox, *rank, failure); },
            [&](const LogLine& line) { outbox.tell("rank " + std::to_string(*rank) + ": " + line.text); },
            [&](const auto&) { out_of_order("a message that the service answers"); },
        },
        message);
  } catch (const Error& error) {
    fail_job(state, outbox, {error.code(), error.what()});
  }
}

void on_rank_lost(State& state, Outbox& outbox, ConnectionId connection, const std::string& reason) {
  const std::optional<std::uint32_t> rank = rank_of(state, connection);
  if (!rank) return;
  state.ranks.erase(*rank);
  if (state.phase == Phase::leaving || state.phase == Phase::failed || state.phase == Phase::waiting) return;
  const std::string text = "lost rank " + std::to_string(*rank) + ": " + reason;
  outbox.tell(text);
  if (!state.first_failure) state.first_failure = JobFailure{ErrorCode::failed, text};
  // Open MPI cannot go on without a rank: the gang lives or dies as a whole.
  state.phase = Phase::waiting;
  outbox.stop_gang(text);
}

void on_gang_waiting(State& state, Outbox& outbox, const std::string& reason) {
  outbox.tell(reason);
  if (is_awaiting_ranks(state)) state.gathering_deadline = std::numeric_limits<TimeMs>::max();
}

void on_gang_running(State& state, Outbox& outbox, const std::string& where) {
  outbox.tell(where);
  if (is_awaiting_ranks(state)) state.gathering_deadline = state.now + kGatheringMsMax;
}

void on_gang_exited(State& state, Outbox& outbox, const std::string& reason, cluster::GangEnd end) {
  outbox.record(AttemptEnded{state.attempt.value, reason}, {});
  state.ranks.clear();
  if (state.phase == Phase::leaving) {
    // A gang that stumbles on its way out has done its work.
    if (!reason.empty()) outbox.tell("the gang's end: " + reason);
    return begin_evaluating(state, outbox);
  }
  if (state.phase == Phase::failed) return;
  if (state.stop_requested) {
    state.failure = JobFailure{ErrorCode::interrupted, state.stop_reason + "; run the same job again to go on"};
    state.phase = Phase::failed;
    return;
  }
  const std::string why = reason.empty() ? "the gang ended before its work" : reason;
  switch (end) {
    case cluster::GangEnd::refused:
      state.first_failure = JobFailure{ErrorCode::bad_input, why};
      break;
    case cluster::GangEnd::cancelled:
      state.failure = JobFailure{ErrorCode::interrupted, why + "; run the same job again to go on"};
      state.phase = Phase::failed;
      return;
    // The ranks' own last words are about losing each other.
    case cluster::GangEnd::preempted:
    case cluster::GangEnd::time_limit:
      state.first_failure = JobFailure{ErrorCode::failed, why};
      break;
    case cluster::GangEnd::own:
    case cluster::GangEnd::stopped:
      if (!state.first_failure) state.first_failure = JobFailure{ErrorCode::failed, why};
      break;
  }
  // What the batch system gives to others is no fault of the job; a limit too short for one block is.
  if (!state.progress_in_attempt && end != cluster::GangEnd::preempted) ++state.attempts_without_progress;
  const ErrorCode code = state.first_failure->code;
  const bool hopeless = code == ErrorCode::bad_input || code == ErrorCode::refused ||
                        code == ErrorCode::internal ||
                        state.attempts_without_progress >= kFruitlessAttemptsMax;
  if (hopeless) {
    state.failure = state.first_failure;
    state.phase = Phase::failed;
    return;
  }
  outbox.tell("starting the gang again (attempt " + std::to_string(state.attempt.value + 1) +
              "): " + state.first_failure->message);
  start_attempt(state, outbox);
}

void on_tick(State& state, Outbox& outbox, TimeMs now) {
  state.now = now;
  if (is_awaiting_ranks(state) && now > state.gathering_deadline) {
    state.first_failure =
        JobFailure{ErrorCode::failed, "only " + std::to_string(state.ranks.size()) + " of " +
                                          std::to_string(state.job.ranks) + " ranks came within " +
                                          std::to_string(kGatheringMsMax / 1000) + " s"};
    state.phase = Phase::waiting;
    outbox.stop_gang(state.first_failure->message);
  }
  tick_evaluators(state, outbox);
}

void on_stop_requested(State& state, Outbox& outbox, const std::string& reason) {
  if (state.stop_requested || state.phase == Phase::finished || state.phase == Phase::failed) return;
  state.stop_requested = true;
  state.stop_reason = reason;
  if (state.phase == Phase::planned) {
    state.failure = JobFailure{ErrorCode::interrupted, reason + " before it began"};
    state.phase = Phase::failed;
    return;
  }
  if (state.phase == Phase::dismissing) return;  // every verdict is in
  const bool evaluating = state.phase == Phase::evaluating;
  state.phase = Phase::waiting;
  if (evaluating) {
    outbox.stop_evaluators(reason);
  } else {
    outbox.stop_gang(reason);
  }
}

}  // namespace quench::coordinator
