// Every decision on the service's queue: what is taken, what starts next, what a cancellation or the end of a job
// means. Functions on state: each change is recorded first (durable when record() returns) and then applied by the
// function that also replays the journal, so a restarted service knows exactly what this one knew. Unix times come
// in as arguments; no clock, socket, disk or process here. Event-loop thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "coordinator/queue/queue_state.h"
#include "schemas/error.h"

namespace quench::coordinator {

class QueueOutbox {
 public:
  virtual ~QueueOutbox() = default;
  // Durable when it returns. Throws Error(failed) when the store takes no writes; nothing has changed then.
  virtual void record(const JobMoved& moved) = 0;
  // Reads the model, then starts the job's gang; on_job_ended follows, from the loop and never from inside.
  virtual void start(const QueuedJob& job) = 0;
  // Ends the job's processes; on_job_ended follows.
  virtual void stop(JobNumber number, const std::string& reason) = 0;
};

// Why the queue does not do what it was asked.
class QueueRefusal : public Error {
 public:
  enum class Kind {
    no_such_job,
    not_yours,
    wrong_state,  // of the job
    too_large,    // it can never run here
    full,
    quota,  // of the user
    stopping,
  };
  QueueRefusal(Kind kind, const std::string& message);
  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

// Who asks: a user, who may change his own jobs, or an administrator, who may change all.
struct QueueCaller {
  std::string user;
  bool administrator = false;
};

// Replays one event of the journal, or takes over one just recorded.
void apply(QueueState& state, const JobMoved& moved);

// What a job's artifacts will take, and what its user has in the store already.
struct SubmittedBytes {
  std::uint64_t planned = 0;
  std::uint64_t stored = 0;
};
// Takes a job that parse_job accepted. It starts once all jobs of `after` are done, and fails when one of them fails or is
// cancelled. Throws QueueRefusal.
JobNumber submit_job(QueueState& state, QueueOutbox& outbox, const JobSpec& job, std::int32_t priority,
                     const QueueCaller& caller, std::int64_t now_ms, const SubmittedBytes& bytes = {},
                     const std::vector<JobNumber>& after = {});
// What the user's jobs that wait or work will publish.
std::uint64_t planned_bytes(const QueueState& state, const std::string& user);
std::uint32_t active_jobs(const QueueState& state, const std::string& user);
struct UserLimit {
  std::string user;
  std::uint64_t planned = 0;
  std::uint64_t bytes_max = 0;  // 0: no limit
};
UserLimit limit_of(const QueueState& state, const std::string& user);
// Throws QueueRefusal(quota) when `more` bytes are too many for a user who has `stored` in the store. Any thread.
void check_bytes(const UserLimit& limit, std::uint64_t stored, std::uint64_t more);
// A waiting job is cancelled at once; one at work is stopped first, and is cancelled when its processes have ended.
void cancel_job(QueueState& state, QueueOutbox& outbox, JobNumber number, const std::string& reason,
                const QueueCaller& caller, std::int64_t now_ms);
// Queues a failed or cancelled job again: what it has committed is kept, so only the failed part is done.
void retry_job(QueueState& state, QueueOutbox& outbox, JobNumber number, const QueueCaller& caller,
               std::int64_t now_ms);

// What the job does is known now. False when another job at work does the same: then this one waits for it, and
// must not go on.
bool on_job_identified(QueueState& state, QueueOutbox& outbox, JobNumber number, const Digest& job_id,
                       std::int64_t now_ms);

struct JobEnding {
  bool done = false;
  ErrorCode code = ErrorCode::failed;
  std::string message;
};
// All processes of the job have ended. A job that was stopped because the service stops stays `running` in the
// journal, so that the next service goes on with it.
void on_job_ended(QueueState& state, QueueOutbox& outbox, JobNumber number, const JobEnding& ending,
                  std::int64_t now_ms);

// After the journal was replayed: what was at work goes on first, what was being cancelled is cancelled.
void on_service_started(QueueState& state, QueueOutbox& outbox, std::int64_t now_ms);
// Nothing is started any more and what is at work ends.
void on_service_stopping(QueueState& state, QueueOutbox& outbox, const std::string& reason);

// Starts what there is room for, and fails what comes after a job without a result. Call it after every change.
void start_jobs(QueueState& state, QueueOutbox& outbox, std::int64_t now_ms);

// The queue at one moment: looked at once for any number of jobs.
struct QueueSurvey {
  // The waiting jobs in the order they will be started: those that were interrupted, then by priority, then those of
  // the user who has used least, then as they came.
  std::vector<JobNumber> order;
  std::unordered_map<JobNumber, std::uint32_t> places;  // in `order`, from 1
  std::uint32_t slots_used = 0;
  std::uint32_t gangs = 0;
  std::optional<JobNumber> next;     // what can start now
  std::optional<JobNumber> kept_by;  // nothing starts before this one, which has waited long for room
};
QueueSurvey survey(const QueueState& state, std::int64_t now_ms);
// Why a waiting job does not run yet, for people.
std::string why_waiting(const QueueState& state, const QueueSurvey& queue, JobNumber number);

// The job of that number. Throws QueueRefusal(no_such_job).
const QueuedJob& queued_job(const QueueState& state, JobNumber number);

}  // namespace quench::coordinator
