// A rank's decisions on what the coordinator sends: functions on its state, without sockets or threads.
#pragma once

#include "worker/state.h"

namespace quench::worker {

// Files a message away for the compute thread. Throws Error(bad_input) for one that a coordinator
// never sends, or an answer nobody asked for.
void on_message(State& state, Message message, Bytes payload);
// The compute thread takes up this order: what it puts next belongs to the first commit that the order lacks.
void on_order_taken(State& state, const QuantizeOrder& order);
// Everything of this step has been put.
void on_step_put(State& state);
// A new connection: what was put and is not durable has to be put again.
void on_reconnected(State& state);
// The connection ended. The first reason stays.
void on_coordinator_lost(State& state, const Error& reason);

}  // namespace quench::worker
