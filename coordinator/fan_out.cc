#include "coordinator/fan_out.h"

#include <algorithm>
#include <utility>

#include "coordinator/overloaded.h"
#include "coordinator/phase_usage.h"
#include "coordinator/records.h"
#include "coordinator/routes.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

std::string name_of(const State& state, const EvaluationProgress& evaluation) {
  return state.artifacts[evaluation.artifact].recipe.name + " " +
         state.job.evaluate[evaluation.evaluation].benchmark;
}

std::string name_of(const Evaluator& evaluator, ConnectionId connection) {
  if (evaluator.slot) return "evaluation worker " + std::to_string(*evaluator.slot);
  return "evaluation worker on " + evaluator.host + " (" + std::to_string(connection) + ")";
}

bool all_complete(const State& state) {
  return std::all_of(state.artifacts.begin(), state.artifacts.end(),
                     [](const ArtifactProgress& artifact) { return artifact.published.has_value(); }) &&
         std::all_of(state.evaluations.begin(), state.evaluations.end(),
                     [](const EvaluationProgress& evaluation) { return evaluation.complete; });
}

// Work that can be handed out now: not opened yet, or items that nobody holds.
bool has_work(State& state, std::uint32_t index) {
  EvaluationProgress& evaluation = state.evaluations[index];
  if (evaluation.complete || !state.artifacts[evaluation.artifact].published) return false;
  return !evaluation.leases || evaluation.leases->has_pending();
}

// Workers from elsewhere are counted behind the slots.
std::uint32_t process_number(const Evaluator& evaluator, ConnectionId connection) {
  constexpr std::uint32_t kBehindSlots = 1u << 16;
  return evaluator.slot ? *evaluator.slot : kBehindSlots + static_cast<std::uint32_t>(connection);
}

// What an evaluator should do next: what it does already, for its model is loaded; otherwise the first.
std::optional<std::uint32_t> next_work(State& state, const Evaluator& evaluator) {
  if (evaluator.order && has_work(state, *evaluator.order)) return evaluator.order;
  for (std::uint32_t index = 0; index < state.evaluations.size(); ++index)
    if (has_work(state, index)) return index;
  return std::nullopt;
}

void give_order(State& state, Outbox& outbox, ConnectionId connection, std::uint32_t index) {
  const EvaluationProgress& evaluation = state.evaluations[index];
  Evaluator& evaluator = state.evaluators.at(connection);
  evaluator.order = index;
  evaluator.described = false;
  evaluator.items_asked = 0;
  EvaluateOrder order;
  order.job = state.job;
  order.artifact = *state.artifacts[evaluation.artifact].published;
  order.evaluation = evaluation.evaluation;
  order.cache_dir = state.cache_dir;
  order.number = index;
  outbox.send(connection, order);
}

void serve(State& state, Outbox& outbox, ConnectionId connection) {
  Evaluator& evaluator = state.evaluators.at(connection);
  const std::optional<std::uint32_t> next = next_work(state, evaluator);
  if (!evaluator.order) {
    if (next) give_order(state, outbox, connection, *next);
    return;
  }
  if (evaluator.items_asked == 0) return;
  EvaluationProgress& current = state.evaluations[*evaluator.order];
  if (next == evaluator.order) {
    const LeaseGrant grant =
        current.leases->grant(connection, static_cast<std::uint32_t>(state.evaluators.size()),
                              evaluator.items_asked, state.now, kLeaseMsMax);
    evaluator.items_asked = 0;
    outbox.send(connection, grant);
    return;
  }
  // Nothing is left to lend here. While others still hold leases it waits for what they may lose, unless
  // there is other work.
  if (!next && !current.complete) return;
  outbox.send(connection, LeaseGrant{});
  evaluator.order.reset();
  evaluator.items_asked = 0;
  if (next) give_order(state, outbox, connection, *next);
}

void release(State& state, Outbox& outbox, ConnectionId connection, const std::string& who) {
  LeaseTable::Released all;
  for (EvaluationProgress& evaluation : state.evaluations) {
    if (!evaluation.leases) continue;
    const LeaseTable::Released one = evaluation.leases->release_holder(connection);
    all.leases += one.leases, all.items += one.items, all.made += one.made;
  }
  if (all.leases > 0)
    outbox.tell("the " + std::to_string(all.leases) + " leases of " + who + " go to others: " + std::to_string(all.items) +
                " completions, " + std::to_string(all.made) + " of them generated already");
}

// A process whose end was told while its connection still stood: now that the connection is gone, it has ended.
void settle_exit(State& state, Outbox& outbox, const std::optional<std::uint32_t>& slot) {
  if (slot && state.slots.contains(*slot) && state.slots.at(*slot))
    on_evaluator_exited(state, outbox, *slot, *state.slots.at(*slot));
}

// A worker that breaks the rules or cannot work is sent away; what it held goes to others.
void send_away(State& state, Outbox& outbox, ConnectionId connection, const Error& reason) {
  const std::string who = name_of(state.evaluators.at(connection), connection);
  const std::optional<std::uint32_t> slot = state.evaluators.at(connection).slot;
  outbox.tell(who + " is sent away: " + reason.what());
  if (slot)
    state.evaluator_failure = JobFailure{ErrorCode::internal, who + ": " + reason.what()};
  outbox.send(connection, Refused{ErrorCode::refused, reason.what()});
  state.evaluators.erase(connection);
  release(state, outbox, connection, who);
  settle_exit(state, outbox, slot);
}

void finish_dismissal(State& state) {
  if (state.phase == Phase::dismissing && state.evaluators.empty() && state.slots.empty())
    state.phase = Phase::finished;
}

void dismiss_if_done(State& state, Outbox& outbox) {
  if (state.phase != Phase::evaluating || !all_complete(state)) return;
  outbox.record(JobFinished{}, {});
  state.phase = Phase::dismissing;
  state.dismissal_deadline = state.now + kDismissalMsMax;
  for (const auto& [connection, evaluator] : state.evaluators) {
    serve(state, outbox, connection);  // who waits for a lease learns that there is none
    outbox.send(connection, ExitOrder{});
  }
  finish_dismissal(state);
}

void start(State& state, Outbox& outbox, std::uint32_t slot) {
  state.slots[slot].reset();
  outbox.start_evaluator(slot);
}

void fail_evaluation(State& state, Outbox& outbox, JobFailure failure) {
  if (!state.failure) state.failure = std::move(failure);
  state.phase = Phase::failed;
  outbox.stop_evaluators(state.failure->message);
}

// The problem file decides the key: verdicts on another one stay where they are, and are not used.
void tell_of_changed_problems(const State& state, Outbox& outbox, const EvaluationProgress& evaluation,
                              const BenchmarkInfo& info) {
  if (!evaluation.opened || evaluation.opened->benchmark == info.digest) return;
  const std::size_t kept = outbox.kept_verdicts(evaluation_digest(evaluation_key(state, evaluation))).size();
  outbox.tell(name_of(state, evaluation) + ": the benchmark's problem file is another one now (" +
              info.digest.short_hex() + ") than when this job began (" +
              evaluation.opened->benchmark.short_hex() + "); the " + std::to_string(kept) +
              " verdicts on the old one stay in the store and are not used, every task is done anew");
}

void open_evaluation(State& state, Outbox& outbox, EvaluationProgress& evaluation, const BenchmarkInfo& info) {
  tell_of_changed_problems(state, outbox, evaluation, info);
  EvaluationOpened opened{evaluation.artifact, evaluation.evaluation, info.digest, info.task_ids};
  if (evaluation.opened != opened) outbox.record(opened, {});
  evaluation.opened = std::move(opened);
  const EvaluateSpec& spec = state.job.evaluate[evaluation.evaluation];
  const auto all = static_cast<std::uint32_t>(info.task_ids.size());
  const std::uint32_t tasks = spec.tasks == 0 ? all : std::min(spec.tasks, all);
  const Digest key = evaluation_digest(evaluation_key(state, evaluation));
  evaluation.leases.emplace(tasks, spec.samples, outbox.kept_verdicts(key));
  if (evaluation.leases->done() > 0)
    outbox.tell(name_of(state, evaluation) + ": " + std::to_string(evaluation.leases->done()) +
                " verdicts were kept from before");
  evaluation.complete = evaluation.leases->complete();
}

[[noreturn]] void out_of_order(const std::string& what) {
  throw Error(ErrorCode::bad_input, what + " came out of order");
}

void on_benchmark_info(State& state, Outbox& outbox, Evaluator& evaluator, const BenchmarkInfo& info) {
  if (evaluator.order != info.number || evaluator.described) out_of_order("BenchmarkInfo");
  if (info.task_ids.empty()) throw Error(ErrorCode::bad_input, "its benchmark has no tasks");
  EvaluationProgress& evaluation = state.evaluations[info.number];
  if (!evaluation.leases) {
    open_evaluation(state, outbox, evaluation, info);
  } else if (info.digest != evaluation.opened->benchmark) {
    throw Error(ErrorCode::bad_input, "it holds another problem file of this benchmark (" +
                                          info.digest.short_hex() + ") than the others (" +
                                          evaluation.opened->benchmark.short_hex() + ")");
  }
  evaluator.described = true;
}

void on_lease_request(State& state, ConnectionId connection, Evaluator& evaluator, const LeaseRequest& request) {
  if (evaluator.order != request.number || !evaluator.described || evaluator.items_asked > 0)
    out_of_order("LeaseRequest");
  state.evaluations[request.number].leases->hand_in(connection, request.lease, request.made);
  evaluator.items_asked = std::max<std::uint32_t>(request.items_max, 1);
}

EvaluationProgress& opened_evaluation(State& state, std::uint32_t number, const char* what) {
  if (number >= state.evaluations.size() || !state.evaluations[number].leases) out_of_order(what);
  return state.evaluations[number];
}

void on_verdicts_done(State& state, Outbox& outbox, const VerdictsDone& done) {
  // They may belong to an order before the present one: a worker executes while it goes on.
  EvaluationProgress& evaluation = opened_evaluation(state, done.number, "VerdictsDone");
  const std::uint32_t before = evaluation.leases->done();
  evaluation.leases->accept(done.lease, done.verdicts);
  // All are handed on, for what is not wanted any more must not contradict what was kept.
  const std::vector<Verdict> contradicting =
      outbox.keep_verdicts(evaluation_digest(evaluation_key(state, evaluation)), done.verdicts);
  for (const Verdict& verdict : contradicting)
    outbox.tell(name_of(state, evaluation) + ": " + evaluation.opened->task_ids[verdict.task] + ", sample " +
                std::to_string(verdict.sample) +
                " came twice with different completions; the first one is kept");
  if (evaluation.leases->done() == before) return;
  state.deaths_without_verdict = 0;
  evaluation.complete = evaluation.leases->complete();
  outbox.show_progress(name_of(state, evaluation), evaluation.leases->done(), evaluation.leases->total());
}

void on_failure(State& state, Outbox& outbox, const std::string& who, const Evaluator& evaluator,
                const Failure& failure) {
  outbox.tell(who + " fails: " + failure.message);
  // What a worker from elsewhere lacks is no fault of the job.
  if (evaluator.slot && !state.evaluator_failure)
    state.evaluator_failure = JobFailure{failure.code, who + ": " + failure.message};
}

}  // namespace

EvaluationKey evaluation_key(const State& state, const EvaluationProgress& evaluation) {
  return evaluation_key(*state.artifacts[evaluation.artifact].published, evaluation.opened->benchmark,
                        state.job.evaluate[evaluation.evaluation]);
}

void begin_evaluating(State& state, Outbox& outbox) {
  state.phase = Phase::evaluating;
  dismiss_if_done(state, outbox);
  if (state.phase != Phase::evaluating) return;
  for (std::uint32_t slot = 0; slot < state.job.ranks; ++slot) {
    start(state, outbox, slot);
  }
}

void serve_evaluators(State& state, Outbox& outbox) {
  if (state.phase == Phase::failed || state.stop_requested) return;
  for (const auto& [connection, evaluator] : state.evaluators) serve(state, outbox, connection);
}

void tick_evaluators(State& state, Outbox& outbox) {
  if (state.phase == Phase::dismissing && state.now > state.dismissal_deadline) {
    for (const auto& [connection, evaluator] : std::exchange(state.evaluators, {})) {
      outbox.tell(name_of(evaluator, connection) + " did not leave in time");
      settle_exit(state, outbox, evaluator.slot);
    }
    outbox.stop_evaluators("the job is done");
    finish_dismissal(state);
    return;
  }
  std::uint32_t expired = 0;
  for (EvaluationProgress& evaluation : state.evaluations)
    if (evaluation.leases) expired += evaluation.leases->expire(state.now);
  if (expired == 0) return;
  outbox.tell(std::to_string(expired) + " leases passed their deadline and are lent again");
  serve_evaluators(state, outbox);
}

void on_evaluator_joined(State& state, Outbox& outbox, ConnectionId connection, const Hello& hello) {
  Evaluator evaluator;
  evaluator.host = hello.host;
  if (hello.rank.world > 0) evaluator.slot = hello.rank.rank;
  if (!evaluator.slot) outbox.tell("an evaluation worker joined from " + hello.host);
  state.evaluators[connection] = evaluator;
  if (state.phase == Phase::dismissing) {
    outbox.send(connection, ExitOrder{});
    return;
  }
  serve_evaluators(state, outbox);
}

void on_evaluator_message(State& state, Outbox& outbox, ConnectionId connection, const Message& message) {
  const auto found = state.evaluators.find(connection);
  if (found == state.evaluators.end()) return;  // it was sent away
  Evaluator& evaluator = found->second;
  const std::string who = name_of(evaluator, connection);
  try {
    if (!may_send(PeerRole::evaluator, message)) out_of_order("a message that evaluation workers do not send");
    std::visit(
        Overloaded{
            [&](const BenchmarkInfo& info) { on_benchmark_info(state, outbox, evaluator, info); },
            [&](const LeaseRequest& request) { on_lease_request(state, connection, evaluator, request); },
            [&](const LeaseRenewal& renewal) {
              opened_evaluation(state, renewal.number, "LeaseRenewal")
                  .leases->renew(renewal.lease, state.now, kLeaseMsMax);
            },
            [&](const VerdictsDone& done) { on_verdicts_done(state, outbox, done); },
            [&](const UsageDone& done) {
              keep_phase_usage(state, outbox, connection, evaluator.host, process_number(evaluator, connection),
                               done);
            },
            [&](const Failure& failure) { on_failure(state, outbox, who, evaluator, failure); },
            [&](const LogLine& line) { outbox.tell(who + ": " + line.text); },
            [&](const WorkerStatus& status) { evaluator.status = status; },
            [&](const auto&) { out_of_order("a message that the service answers"); },
        },
        message);
  } catch (const Error& error) {
    // The disk's errors are ours; everything else is the worker's.
    if (error.code() != ErrorCode::bad_input) throw;
    send_away(state, outbox, connection, error);
  }
  dismiss_if_done(state, outbox);
  serve_evaluators(state, outbox);
}

void on_evaluator_lost(State& state, Outbox& outbox, ConnectionId connection, const std::string& reason) {
  const auto found = state.evaluators.find(connection);
  if (found == state.evaluators.end()) return;
  const std::string who = name_of(found->second, connection);
  const std::optional<std::uint32_t> slot = found->second.slot;
  state.evaluators.erase(found);
  if (state.phase != Phase::dismissing && state.phase != Phase::failed && !state.stop_requested) {
    outbox.tell("lost " + who + ": " + reason);
    release(state, outbox, connection, who);
    serve_evaluators(state, outbox);
  }
  finish_dismissal(state);
  settle_exit(state, outbox, slot);
}

void on_evaluator_exited(State& state, Outbox& outbox, std::uint32_t slot, const std::string& reason,
                         cluster::GangEnd end) {
  for (const auto& [connection, evaluator] : state.evaluators)
    if (evaluator.slot == slot) {
      // What it said last may still be on its way; the connection's end comes behind it.
      state.slots[slot] = reason;
      return;
    }
  state.slots.erase(slot);
  if (state.phase == Phase::dismissing) return finish_dismissal(state);
  if (state.phase == Phase::waiting && state.stop_requested && state.slots.empty()) {
    state.failure = JobFailure{ErrorCode::interrupted, state.stop_reason + "; run the same job again to go on"};
    state.phase = Phase::failed;
  }
  if (state.phase != Phase::evaluating) return;
  if (end == cluster::GangEnd::cancelled)
    return fail_evaluation(state, outbox, {ErrorCode::interrupted, reason + "; run the same job again to go on"});
  if (end == cluster::GangEnd::refused) return fail_evaluation(state, outbox, {ErrorCode::bad_input, reason});
  if (end == cluster::GangEnd::preempted) {
    state.evaluator_failure.reset();
    outbox.tell("starting evaluation worker " + std::to_string(slot) + " again: " + reason);
    return start(state, outbox, slot);
  }
  const JobFailure failure = std::exchange(state.evaluator_failure, std::nullopt)
                                 .value_or(JobFailure{ErrorCode::failed, "evaluation worker " +
                                                                             std::to_string(slot) + " " + reason});
  ++state.deaths_without_verdict;
  const bool hopeless = failure.code == ErrorCode::bad_input || failure.code == ErrorCode::refused ||
                        failure.code == ErrorCode::internal || failure.code == ErrorCode::unreachable ||
                        state.deaths_without_verdict >= kDeathsWithoutVerdictMax * state.job.ranks;
  if (hopeless) return fail_evaluation(state, outbox, failure);
  outbox.tell("starting evaluation worker " + std::to_string(slot) + " again: " + failure.message);
  start(state, outbox, slot);
}

}  // namespace quench::coordinator
