// The coordinator's decisions on the job and its gang, as functions on its state (those on evaluation are in
// fan_out.h). No sockets, disks, clocks or processes here: events come in as calls, effects go out
// through the Outbox. Event-loop thread only.
#pragma once

#include <optional>

#include "cluster/launch/launcher.h"
#include "coordinator/outbox.h"
#include "coordinator/state.h"
#include "schemas/messages.h"

namespace quench::coordinator {

inline constexpr TimeMs kGatheringMsMax = 60'000;  // mpirun on a loaded machine needs seconds
inline constexpr std::uint32_t kFruitlessAttemptsMax = 3;

// A job's state before anything was done; `history` is its journal, oldest first.
State open_job(const JobSpec& job, const Digest& job_id, const Digest& source, std::uint32_t block_count,
               const std::vector<quench::JournalEvent>& history);

// True when nothing is left to do: the job can be reported without a gang.
bool is_complete(const State& state);

void on_start(State& state, Outbox& outbox);
// A rank passed the handshake.
void on_rank_joined(State& state, Outbox& outbox, ConnectionId connection, const Hello& hello);
// Any message of a rank but chunks and store requests, which the service answers by itself.
void on_rank_message(State& state, Outbox& outbox, ConnectionId connection, const Message& message);
void on_rank_lost(State& state, Outbox& outbox, ConnectionId connection, const std::string& reason);
// The gang stands in a batch system's queue, for `reason`: no rank is awaited until on_gang_running.
void on_gang_waiting(State& state, Outbox& outbox, const std::string& reason);
void on_gang_running(State& state, Outbox& outbox, const std::string& where);
// Every process of the gang has ended. `reason` is empty when all ended with 0.
void on_gang_exited(State& state, Outbox& outbox, const std::string& reason,
                    cluster::GangEnd end = cluster::GangEnd::own);
void on_tick(State& state, Outbox& outbox, TimeMs now);
// A signal, or a user of the service: gang and evaluation workers end, what is committed stays. The job then fails
// with Error(interrupted) and this reason.
void on_stop_requested(State& state, Outbox& outbox, const std::string& reason);

// "JOB/ARTIFACT": the name under which an artifact is published.
std::string artifact_ref(const JobSpec& job, const QuantizeSpec& recipe);

}  // namespace quench::coordinator
