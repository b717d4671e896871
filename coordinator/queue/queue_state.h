// What the service knows of its jobs: plain data, a pure function of its journal but for what says so. Only queue.cc
// changes it, on the event loop's thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "schemas/digest.h"
#include "schemas/job_spec.h"
#include "schemas/journal.h"

namespace quench::coordinator {

// The service's name for a job: 1, 2, 3 ... in the order of submission.
using JobNumber = std::uint64_t;

struct QueueLimits {
  std::uint32_t slots = 1;  // ranks at work at once
  std::uint32_t gangs_max = 16;
  std::uint32_t queued_max = 1000;
  std::uint32_t jobs_per_user_max = 100;  // waiting or at work
  std::uint64_t bytes_per_user_max = 0;   // of artifacts, published or planned; 0: no limit
  // A job that has waited so long for room keeps its place: nothing behind it starts before it.
  std::int64_t keep_order_ms = 600'000;
};

struct QueuedJob {
  JobNumber number = 0;
  JobSpec job;
  std::string user;
  std::int32_t priority = 0;  // larger ones go first
  JobState state = JobState::queued;
  std::string reason;      // of a failure, a cancellation or of being queued again
  std::string error_code;  // of a failure
  Digest job_id;           // once the model has been read
  std::uint64_t planned_bytes = 0;  // of its artifacts
  std::vector<JobNumber> after;     // it starts when these are done; each is smaller than its own
  std::int64_t submitted_ms = 0;
  std::int64_t queued_ms = 0;   // the last time
  std::int64_t started_ms = 0;  // the last time
  std::int64_t ended_ms = 0;
  std::uint32_t starts = 0;
  bool interrupted = false;  // it was at work when the service ended, so it goes first
  // Not from the journal: another job that does the same work now.
  std::optional<JobNumber> same_work;
};

// Rank-seconds that count against a user's share; half of them are forgotten each day.
struct Usage {
  double rank_seconds = 0;
  std::int64_t at_ms = 0;
};

struct QueueState {
  QueueLimits limits;
  std::map<JobNumber, QueuedJob> jobs;
  std::map<std::string, Usage> usage;  // by user
  JobNumber next_number = 1;
  bool stopping = false;    // nothing is started any more; not from the journal
  std::string store_fault;  // why the store takes no writes; empty while it does; not from the journal
};

}  // namespace quench::coordinator
