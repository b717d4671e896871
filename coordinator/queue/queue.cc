#include "coordinator/queue/queue.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace quench::coordinator {
namespace {

using Kind = QueueRefusal::Kind;

constexpr double kUsageHalfLifeMs = 24.0 * 3600 * 1000;

bool at_work(const QueuedJob& job) {
  return job.state == JobState::running || job.state == JobState::cancelling;
}
bool is_active(const QueuedJob& job) { return at_work(job) || job.state == JobState::queued; }

std::uint32_t count(const QueueState& state, auto condition) {
  return static_cast<std::uint32_t>(std::count_if(state.jobs.begin(), state.jobs.end(),
                                                  [&](const auto& entry) { return condition(entry.second); }));
}

double remembered(const Usage& usage, std::int64_t now_ms) {
  const double age_ms = static_cast<double>(std::max<std::int64_t>(0, now_ms - usage.at_ms));
  return usage.rank_seconds * std::exp2(-age_ms / kUsageHalfLifeMs);
}

// What counts against each user's share: what he used, and what his jobs at work have taken so far.
std::map<std::string, double> shares(const QueueState& state, std::int64_t now_ms) {
  std::map<std::string, double> shares;
  for (const auto& [user, usage] : state.usage) shares[user] = remembered(usage, now_ms);
  for (const auto& [number, job] : state.jobs)
    if (at_work(job))
      shares[job.user] += job.job.ranks * (static_cast<double>(now_ms - job.started_ms) / 1000 + 1);
  return shares;
}

double rank_seconds(const QueuedJob& job, std::int64_t now_ms) {
  return job.job.ranks * static_cast<double>(std::max<std::int64_t>(0, now_ms - job.started_ms)) / 1000;
}

// Records, then applies: what is known is never more than what is durable.
void move(QueueState& state, QueueOutbox& outbox, const JobMoved& moved) {
  outbox.record(moved);
  apply(state, moved);
}

JobMoved transition(JobNumber number, JobState to, std::int64_t now_ms) {
  JobMoved moved;
  moved.number = number;
  moved.to = to;
  moved.unix_ms = now_ms;
  return moved;
}

QueuedJob& job_of(QueueState& state, JobNumber number, const QueueCaller& caller) {
  queued_job(state, number);
  QueuedJob& job = state.jobs.at(number);
  if (!caller.administrator && job.user != caller.user)
    throw QueueRefusal(Kind::not_yours, "job " + std::to_string(number) + " belongs to " + job.user +
                                            ", and you are " + caller.user +
                                            ": only its owner and administrators may change it");
  return job;
}

bool has_no_result(const QueuedJob& job) {
  return job.state == JobState::failed || job.state == JobState::cancelled;
}

// The first of those that `job` comes after which will not be done unless it is tried again.
const QueuedJob* failed_before(const QueueState& state, const QueuedJob& job) {
  for (const JobNumber number : job.after)
    if (const QueuedJob& before = state.jobs.at(number); has_no_result(before)) return &before;
  return nullptr;
}

bool comes_after_others(const QueueState& state, const QueuedJob& job) {
  return std::any_of(job.after.begin(), job.after.end(),
                     [&](JobNumber number) { return state.jobs.at(number).state != JobState::done; });
}

// Since when nothing but room has kept it.
std::int64_t startable_since(const QueueState& state, const QueuedJob& job) {
  std::int64_t since = job.queued_ms;
  for (const JobNumber number : job.after) since = std::max(since, state.jobs.at(number).ended_ms);
  return since;
}

[[noreturn]] void wrong_state(const QueuedJob& job, const std::string& remedy) {
  throw QueueRefusal(Kind::wrong_state, "job " + std::to_string(job.number) + " is " +
                                            std::string(to_string(job.state)) + ": " + remedy);
}

}  // namespace

QueueRefusal::QueueRefusal(Kind kind, const std::string& message)
    : Error(kind == Kind::not_yours ? ErrorCode::refused : ErrorCode::bad_input, message), kind_(kind) {}

void apply(QueueState& state, const JobMoved& moved) {
  if (moved.job) {
    QueuedJob& job = state.jobs[moved.number];
    job.number = moved.number;
    job.job = *moved.job;
    job.user = moved.by;
    job.priority = moved.priority;
    job.planned_bytes = moved.planned_bytes;
    job.after = moved.after;
    job.submitted_ms = job.queued_ms = moved.unix_ms;
    state.next_number = std::max(state.next_number, moved.number + 1);
    return;
  }
  const auto found = state.jobs.find(moved.number);
  if (found == state.jobs.end())
    throw Error(ErrorCode::corrupt, "the service's journal names job " + std::to_string(moved.number) +
                                        ", which was never submitted");
  QueuedJob& job = found->second;
  const bool worked = at_work(job);
  job.state = moved.to;
  job.reason = moved.reason;
  job.error_code = moved.error_code;
  job.same_work.reset();
  if (!moved.job_id.is_none()) job.job_id = moved.job_id;
  if (moved.rank_seconds > 0) {
    Usage& usage = state.usage[job.user];
    usage = {remembered(usage, moved.unix_ms) + moved.rank_seconds, moved.unix_ms};
  }
  switch (moved.to) {
    case JobState::queued:
      job.queued_ms = moved.unix_ms;
      job.ended_ms = 0;
      job.interrupted = worked;
      break;
    case JobState::running:
      if (!worked) {
        job.started_ms = moved.unix_ms;
        ++job.starts;
      }
      job.interrupted = false;
      break;
    case JobState::cancelling:
      break;
    case JobState::done:
    case JobState::failed:
    case JobState::cancelled:
      job.ended_ms = moved.unix_ms;
      break;
  }
}

const QueuedJob& queued_job(const QueueState& state, JobNumber number) {
  const auto found = state.jobs.find(number);
  if (found == state.jobs.end())
    throw QueueRefusal(Kind::no_such_job, "there is no job " + std::to_string(number) + ": `quench status` lists them");
  return found->second;
}

std::uint32_t active_jobs(const QueueState& state, const std::string& user) {
  return count(state, [&](const QueuedJob& one) { return is_active(one) && one.user == user; });
}

std::uint64_t planned_bytes(const QueueState& state, const std::string& user) {
  std::uint64_t bytes = 0;
  for (const auto& [number, job] : state.jobs)
    if (is_active(job) && job.user == user) bytes += job.planned_bytes;
  return bytes;
}

UserLimit limit_of(const QueueState& state, const std::string& user) {
  return {user, planned_bytes(state, user), state.limits.bytes_per_user_max};
}

void check_bytes(const UserLimit& limit, std::uint64_t stored, std::uint64_t more) {
  if (limit.bytes_max == 0 || stored + limit.planned + more <= limit.bytes_max) return;
  const auto text = [](std::uint64_t bytes) {
    return bytes < 10'000'000 ? std::to_string((bytes + 999) / 1000) + " kB" : std::to_string((bytes + 999'999) / 1'000'000) + " MB";
  };
  throw QueueRefusal(Kind::quota, limit.user + " has artifacts of " + text(stored) + " in the store and " + text(limit.planned) +
                                      " more planned by jobs that wait or work; " + text(more) +
                                      " do not fit into the " + text(limit.bytes_max) +
                                      " that one user may have: remove artifacts (quench artifacts rm NAME), cancel jobs, or "
                                      "ask an administrator (bytesPerUserMax)");
}

JobNumber submit_job(QueueState& state, QueueOutbox& outbox, const JobSpec& job, std::int32_t priority,
                     const QueueCaller& caller, std::int64_t now_ms, const SubmittedBytes& bytes,
                     const std::vector<JobNumber>& after) {
  if (state.stopping) throw QueueRefusal(Kind::stopping, "the service is stopping: submit again when it is back");
  if (job.ranks > state.limits.slots)
    throw QueueRefusal(Kind::too_large, "the job asks for " + std::to_string(job.ranks) + " ranks and this service has " +
                                            std::to_string(state.limits.slots) + ": ask for fewer (\"ranks\")");
  for (const JobNumber number : after) {
    const QueuedJob& before = queued_job(state, number);
    if (has_no_result(before)) wrong_state(before, "nothing that comes after it can start; try it again first (quench retry)");
  }
  const std::uint32_t waiting = count(state, [](const QueuedJob& one) { return one.state == JobState::queued; });
  if (waiting >= state.limits.queued_max)
    throw QueueRefusal(Kind::full, "the queue is full: " + std::to_string(waiting) +
                                       " jobs wait, and no more are taken; submit again when some have started");
  const std::uint32_t own = active_jobs(state, caller.user);
  if (own >= state.limits.jobs_per_user_max)
    throw QueueRefusal(Kind::quota, caller.user + " has " + std::to_string(own) +
                                        " jobs waiting or at work, as many as one user may have: submit again "
                                        "when some have ended, or cancel some");
  check_bytes(limit_of(state, caller.user), bytes.stored, bytes.planned);
  JobMoved moved = transition(state.next_number, JobState::queued, now_ms);
  moved.by = caller.user;
  moved.planned_bytes = bytes.planned;
  moved.job = job;
  moved.priority = priority;
  moved.after = after;
  move(state, outbox, moved);
  return moved.number;
}

void cancel_job(QueueState& state, QueueOutbox& outbox, JobNumber number, const std::string& reason,
                const QueueCaller& caller, std::int64_t now_ms) {
  const QueuedJob& job = job_of(state, number, caller);
  if (!is_active(job)) wrong_state(job, "there is nothing to cancel");
  if (job.state == JobState::cancelling) return;  // asked twice
  JobMoved moved = transition(number, job.state == JobState::queued ? JobState::cancelled : JobState::cancelling, now_ms);
  moved.by = caller.user;
  moved.reason = reason.empty() ? "cancelled by " + caller.user : reason;
  move(state, outbox, moved);
  if (moved.to == JobState::cancelling) outbox.stop(number, "cancelled: " + moved.reason);
}

void retry_job(QueueState& state, QueueOutbox& outbox, JobNumber number, const QueueCaller& caller,
               std::int64_t now_ms) {
  const QueuedJob& job = job_of(state, number, caller);
  if (state.stopping) throw QueueRefusal(Kind::stopping, "the service is stopping: try again when it is back");
  if (job.state != JobState::failed && job.state != JobState::cancelled)
    wrong_state(job, "only failed and cancelled jobs can be tried again");
  if (const QueuedJob* before = failed_before(state, job))
    wrong_state(*before, "job " + std::to_string(number) + " comes after it; try it again first");
  JobMoved moved = transition(number, JobState::queued, now_ms);
  moved.by = caller.user;
  moved.reason = "tried again by " + caller.user;
  move(state, outbox, moved);
}

bool on_job_identified(QueueState& state, QueueOutbox& outbox, JobNumber number, const Digest& job_id,
                       std::int64_t now_ms) {
  QueuedJob& job = state.jobs.at(number);
  for (const auto& [other_number, other] : state.jobs)
    if (other_number != number && at_work(other) && other.job_id == job_id) {
      JobMoved moved = transition(number, JobState::queued, now_ms);
      moved.reason = "job " + std::to_string(other_number) + " does the same work";
      moved.job_id = job_id;
      move(state, outbox, moved);
      job.same_work = other_number;
      return false;
    }
  if (job.job_id != job_id) {
    JobMoved moved = transition(number, job.state, now_ms);
    moved.reason = job.state == JobState::running ? "its model has been read" : job.reason;
    moved.job_id = job_id;
    move(state, outbox, moved);
  }
  return true;
}

void on_job_ended(QueueState& state, QueueOutbox& outbox, JobNumber number, const JobEnding& ending,
                  std::int64_t now_ms) {
  const QueuedJob& job = state.jobs.at(number);
  QUENCH_CHECK(at_work(job), number, to_string(job.state));
  const bool cancelled = job.state == JobState::cancelling;
  if (state.stopping && !ending.done && !cancelled && ending.code == ErrorCode::interrupted) return;
  JobMoved moved = transition(number, JobState::failed, now_ms);
  moved.rank_seconds = rank_seconds(job, now_ms);
  if (ending.done) {
    moved.to = JobState::done;  // it may have been faster than its cancellation
  } else if (cancelled) {
    moved.to = JobState::cancelled;
    moved.reason = job.reason;
  } else {
    moved.reason = ending.message;
    moved.error_code = to_string(ending.code);
  }
  move(state, outbox, moved);
}

void on_service_started(QueueState& state, QueueOutbox& outbox, std::int64_t now_ms) {
  for (auto& [number, job] : state.jobs) {
    if (!at_work(job)) continue;
    const bool cancelling = job.state == JobState::cancelling;
    JobMoved moved = transition(number, cancelling ? JobState::cancelled : JobState::queued, now_ms);
    moved.reason = cancelling ? job.reason : "the service was started again while the job was at work";
    move(state, outbox, moved);
  }
}

void on_service_stopping(QueueState& state, QueueOutbox& outbox, const std::string& reason) {
  if (state.stopping) return;
  state.stopping = true;
  for (const auto& [number, job] : state.jobs)
    if (at_work(job)) outbox.stop(number, reason);
}

namespace {

std::vector<JobNumber> waiting_order(const QueueState& state, std::int64_t now_ms) {
  const std::map<std::string, double> used = shares(state, now_ms);
  // Smaller ones go first; those that cannot start, last.
  std::vector<std::tuple<bool, bool, std::int64_t, double, JobNumber>> waiting;
  for (const auto& [number, job] : state.jobs) {
    if (job.state != JobState::queued) continue;
    const auto share = used.find(job.user);
    waiting.emplace_back(comes_after_others(state, job), !job.interrupted, -std::int64_t{job.priority}, share == used.end() ? 0 : share->second, number);
  }
  std::sort(waiting.begin(), waiting.end());
  std::vector<JobNumber> order;
  order.reserve(waiting.size());
  for (const auto& entry : waiting) order.push_back(std::get<JobNumber>(entry));
  return order;
}

// Whether the job waits for another that does the same work.
bool held_by_twin(const QueueState& state, const QueuedJob& job) {
  return job.same_work && at_work(state.jobs.at(*job.same_work));
}

void find_next(QueueSurvey& queue, const QueueState& state, std::int64_t now_ms) {
  if (state.stopping || !state.store_fault.empty() || queue.gangs >= state.limits.gangs_max) return;
  for (const JobNumber number : queue.order) {
    const QueuedJob& job = state.jobs.at(number);
    if (comes_after_others(state, job)) return;  // and so do all behind it
    if (held_by_twin(state, job) || job.job.ranks > state.limits.slots) continue;
    if (queue.slots_used + job.job.ranks <= state.limits.slots) {
      queue.next = number;
      return;
    }
    if (now_ms - startable_since(state, job) >= state.limits.keep_order_ms) {
      queue.kept_by = number;
      return;
    }
  }
}

// Why `before` goes first.
std::string rule_between(const QueuedJob& before, const QueuedJob& job) {
  if (before.interrupted && !job.interrupted) return "it was interrupted";
  if (before.priority != job.priority)
    return "its priority is " + std::to_string(before.priority) + ", this one's " + std::to_string(job.priority);
  if (before.user != job.user) return before.user + " has used less lately than " + job.user;
  return "it came earlier";
}

}  // namespace

QueueSurvey survey(const QueueState& state, std::int64_t now_ms) {
  QueueSurvey queue;
  queue.order = waiting_order(state, now_ms);
  for (const JobNumber number : queue.order) queue.places.emplace(number, queue.places.size() + 1);
  for (const auto& [number, job] : state.jobs) {
    if (!at_work(job)) continue;
    queue.slots_used += job.job.ranks;
    ++queue.gangs;
  }
  find_next(queue, state, now_ms);
  return queue;
}

namespace {

// Those that come after a job without a result fail with it. Numbers grow from what goes first to what comes after, so
// one pass reaches all.
void fail_with_those_before(QueueState& state, QueueOutbox& outbox, std::int64_t now_ms) {
  for (const auto& [number, job] : state.jobs) {
    const QueuedJob* before = job.state == JobState::queued ? failed_before(state, job) : nullptr;
    if (before == nullptr) continue;
    JobMoved moved = transition(number, JobState::failed, now_ms);
    moved.reason = "job " + std::to_string(before->number) + ", which it comes after, " +
                   (before->state == JobState::failed ? "failed" : "was cancelled") + " (" + before->reason +
                   "): try that one again first, then this one";
    moved.error_code = to_string(ErrorCode::failed);
    move(state, outbox, moved);
  }
}

std::string what_it_comes_after(const QueueState& state, const QueuedJob& job) {
  std::string text;
  for (const JobNumber number : job.after)
    if (const JobState now = state.jobs.at(number).state; now != JobState::done)
      text += (text.empty() ? "job " : ", job ") + std::to_string(number) + " (" + std::string(to_string(now)) + ")";
  return text;
}

}  // namespace

void start_jobs(QueueState& state, QueueOutbox& outbox, std::int64_t now_ms) {
  if (state.store_fault.empty()) fail_with_those_before(state, outbox, now_ms);
  while (const std::optional<JobNumber> number = survey(state, now_ms).next) {
    move(state, outbox, transition(*number, JobState::running, now_ms));
    outbox.start(state.jobs.at(*number));
  }
}

std::string why_waiting(const QueueState& state, const QueueSurvey& queue, JobNumber number) {
  const QueuedJob& job = queued_job(state, number);
  QUENCH_CHECK(job.state == JobState::queued, number);
  if (state.stopping) return "the service is stopping; the job goes on when it is back";
  if (!state.store_fault.empty()) return "the store takes no writes: " + state.store_fault;
  if (comes_after_others(state, job)) return "it comes after " + what_it_comes_after(state, job);
  if (held_by_twin(state, job)) return "job " + std::to_string(*job.same_work) + " does the same work now";
  const std::uint32_t slots = state.limits.slots;
  if (job.job.ranks > slots)
    return "it asks for " + std::to_string(job.job.ranks) + " ranks and the service has only " + std::to_string(slots) +
           " since it was started again: cancel it and ask for fewer";
  const std::uint32_t free = slots - std::min(queue.slots_used, slots);
  std::string room = "it starts at once";
  if (queue.gangs >= state.limits.gangs_max) {
    room = std::to_string(queue.gangs) + " jobs are at work, as many as may be";
  } else if (job.job.ranks > free) {
    room = "it asks for " + std::to_string(job.job.ranks) + " ranks and " + std::to_string(free) + " of " +
           std::to_string(slots) + " are free";
  } else if (queue.kept_by) {
    room = "job " + std::to_string(*queue.kept_by) + " has waited so long that nothing overtakes it any more";
  }
  const std::uint32_t before = queue.places.at(number) - 1;
  if (before == 0) return room;
  // The nearest of those that go first.
  const QueuedJob& nearest = state.jobs.at(queue.order[before - 1]);
  return room + "; " + std::to_string(before) + (before == 1 ? " job goes" : " jobs go") + " first, job " +
         std::to_string(nearest.number) + " among them (" + rule_between(nearest, job) + ")";
}

}  // namespace quench::coordinator
