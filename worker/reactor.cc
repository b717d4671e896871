#include "worker/reactor.h"

#include <string>
#include <utility>

namespace quench::worker {
namespace {

struct Filing {
  State& state;
  Bytes& payload;

  void operator()(QuantizeOrder& order) { state.orders.emplace_back(std::move(order)); }
  void operator()(EvaluateOrder& order) { state.orders.emplace_back(std::move(order)); }
  void operator()(ExitOrder& order) { state.orders.emplace_back(order); }
  void operator()(ChunkStored& stored) {
    if (stored.count > state.chunks_put || stored.count < state.chunks_stored)
      throw Error(ErrorCode::bad_input, "the coordinator acknowledged " + std::to_string(stored.count) +
                                            " chunks of " + std::to_string(state.chunks_put));
    state.chunks_stored = stored.count;
  }
  void operator()(BlockCommitted& committed) { state.commits.push_back(committed); }
  void operator()(UsageKept&) { ++state.usages_kept; }
  void operator()(LeaseGrant& grant) { state.grants.push_back(std::move(grant)); }
  void operator()(ManifestReply& reply) { state.manifest = std::move(reply); }
  void operator()(ChunkReply& reply) { state.chunk = ChunkAnswer{reply.digest, std::move(payload)}; }
  void operator()(RequestFailed& failed) { state.request_failed = std::move(failed); }
  void operator()(Refused& refused) { on_coordinator_lost(state, Error(refused.code, refused.message)); }
  template <typename Other>
  void operator()(Other&) {
    throw Error(ErrorCode::bad_input, "the coordinator sent a message that workers do not take");
  }
};

}  // namespace

void on_message(State& state, Message message, Bytes payload) { std::visit(Filing{state, payload}, message); }

void on_coordinator_lost(State& state, const Error& reason) {
  if (!state.lost) state.lost = reason;
}

}  // namespace quench::worker
