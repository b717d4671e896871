// What ranks and evaluation workers report of the phases of a job. Event-loop thread only.
#pragma once

#include <string>

#include "coordinator/outbox.h"
#include "coordinator/state.h"
#include "schemas/messages.h"

namespace quench::coordinator {

// Keeps a report and answers it. `host` and `process` (unique among the processes of the phase) are what the
// coordinator knows them to be. Throws Error(bad_input) for a phase that the job has not.
void keep_phase_usage(const State& state, Outbox& outbox, ConnectionId from, const std::string& host,
                      std::uint32_t process, const UsageDone& done);

}  // namespace quench::coordinator
