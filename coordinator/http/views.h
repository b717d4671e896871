// Jobs as the service shows them: the queue's knowledge, the state of a job at work, the journal of one that is not.
#pragma once

#include "coordinator/job_run.h"
#include "coordinator/queue/queue.h"
#include "schemas/service_api.h"

namespace quench::coordinator {

// `run`: null when it is not at work.
JobView job_view(const QueueState& state, const QueueSurvey& queue, const QueuedJob& job, const JobRun* run);
// Fills everything below JobView from `state`.
void describe_state(JobDetail& detail, const State& state);
// Before anything is known of it but its recipes.
void describe_plan(JobDetail& detail, const JobSpec& job);
std::string_view to_string(Phase phase);
AuditEntry audit_entry(const quench::JournalEvent& event);

}  // namespace quench::coordinator
