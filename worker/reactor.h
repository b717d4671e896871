// A rank's decisions on what the coordinator sends: functions on its state, without sockets or threads.
#pragma once

#include "worker/state.h"

namespace quench::worker {

// Files a message away for the compute thread. Throws Error(bad_input) for one that a coordinator
// never sends, or an answer nobody asked for.
void on_message(State& state, Message message, Bytes payload);
// The connection ended. The first reason stays.
void on_coordinator_lost(State& state, const Error& reason);

}  // namespace quench::worker
