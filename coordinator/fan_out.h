// The coordinator's decisions on evaluation: which worker evaluates what. Workers are processes without
// MPI; some we start when the gang has left, others join from any host at any time. A worker that is lost
// costs its leases, which go to another. Functions on state, as in reactor.h; event-loop thread only.
#pragma once

#include <string>

#include "cluster/launch/launcher.h"
#include "coordinator/outbox.h"
#include "coordinator/state.h"
#include "schemas/messages.h"

namespace quench::coordinator {

// A worker renews its leases while it gets on (LeaseRenewal), so this is the longest time without a
// sign of work: one forward pass of a large model on a slow machine, one program that is run again alone.
inline constexpr TimeMs kLeaseMsMax = 600'000;
// For each worker of ours: so many of them may end, one after the other, without any verdict between them.
inline constexpr std::uint32_t kDeathsWithoutVerdictMax = 3;
// For workers to end by themselves once they may; they have sandboxes to close.
inline constexpr TimeMs kDismissalMsMax = 5'000;

// An evaluation worker passed the handshake: one that we started (hello.rank is its slot) or another.
void on_evaluator_joined(State& state, Outbox& outbox, ConnectionId connection, const Hello& hello);
// Any message of an evaluation worker but store requests.
void on_evaluator_message(State& state, Outbox& outbox, ConnectionId connection, const Message& message);
void on_evaluator_lost(State& state, Outbox& outbox, ConnectionId connection, const std::string& reason);
// A process that start_evaluator started has ended.
void on_evaluator_exited(State& state, Outbox& outbox, std::uint32_t slot, const std::string& reason,
                         cluster::GangEnd end = cluster::GangEnd::own);

// For the reactor: artifacts are published and the gang is gone; starts workers for what is left.
void begin_evaluating(State& state, Outbox& outbox);
// For the reactor: gives work to whoever waits for some.
void serve_evaluators(State& state, Outbox& outbox);
void tick_evaluators(State& state, Outbox& outbox);

// Verdicts are kept under the digest of this. Only once the evaluation is opened.
EvaluationKey evaluation_key(const State& state, const EvaluationProgress& evaluation);

}  // namespace quench::coordinator
