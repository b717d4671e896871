#include "worker/reactor.h"

#include <algorithm>
#include <string>
#include <utility>

namespace quench::worker {
namespace {

// Forgets the oldest message of this kind: it has its answer.
template <typename Kind>
bool answered(State& state) {
  const auto found = std::find_if(state.unanswered.begin(), state.unanswered.end(),
                                  [](const Message& message) { return std::holds_alternative<Kind>(message); });
  if (found == state.unanswered.end()) return false;
  state.unanswered.erase(found);
  return true;
}

void drop_durable(State& state, CommitStep up_to) {
  std::erase_if(state.held, [&](const HeldChunk& chunk) { return chunk.step <= up_to; });
}

struct Filing {
  State& state;
  Bytes& payload;

  void operator()(QuantizeOrder& order) {
    answered<ArtifactDone>(state);
    state.orders_come = order.artifact + 1;
    state.orders.emplace_back(std::move(order));
  }
  void operator()(EvaluateOrder& order) { state.orders.emplace_back(std::move(order)); }
  void operator()(ExitOrder& order) {
    answered<ArtifactDone>(state);
    state.orders_come = kAllOrders;
    state.orders.emplace_back(order);
  }
  void operator()(ChunkStored& stored) {
    if (stored.count > state.chunks_put || stored.count < state.chunks_stored)
      throw Error(ErrorCode::bad_input, "the coordinator acknowledged " + std::to_string(stored.count) +
                                            " chunks of " + std::to_string(state.chunks_put));
    state.chunks_stored = stored.count;
  }
  void operator()(BlockCommitted& committed) {
    const bool outer = committed.block == kOuterBlock;
    drop_durable(state, {committed.artifact, outer ? 0 : committed.block + 1});
    // All ranks hear of it for the sake of what they hold; rank 0 has asked.
    const bool asked = outer ? answered<OuterDone>(state) : answered<BlockDone>(state);
    if (asked || !state.holds) state.commits.push_back(committed);
  }
  void operator()(Resumed& resumed) {
    if (resumed.blocks > 0 || resumed.outer_committed) drop_durable(state, {resumed.artifact, resumed.blocks});
    // Artifacts before it are published.
    std::erase_if(state.held, [&](const HeldChunk& chunk) { return chunk.step.artifact < resumed.artifact; });
  }
  void operator()(UsageKept&) {
    answered<UsageDone>(state);
    ++state.usages_kept;
  }
  void operator()(LeaseGrant& grant) { state.grants.push_back(std::move(grant)); }
  void operator()(ManifestReply& reply) {
    answered<ManifestRequest>(state);
    state.manifest = std::move(reply);
  }
  void operator()(ChunkReply& reply) {
    answered<ChunkRequest>(state);
    state.chunk = ChunkAnswer{reply.digest, std::move(payload)};
  }
  void operator()(RequestFailed& failed) {
    if (!answered<ChunkRequest>(state)) answered<ManifestRequest>(state);
    state.request_failed = std::move(failed);
  }
  void operator()(Refused& refused) { on_coordinator_lost(state, Error(refused.code, refused.message)); }
  template <typename Other>
  void operator()(Other&) {
    throw Error(ErrorCode::bad_input, "the coordinator sent a message that workers do not take");
  }
};

}  // namespace

void on_message(State& state, Message message, Bytes payload) { std::visit(Filing{state, payload}, message); }

void on_order_taken(State& state, const QuantizeOrder& order) {
  state.step = {order.artifact, order.outer_committed ? order.first_block + 1 : 0};
}

void on_step_put(State& state) { ++state.step.step; }

void on_reconnected(State& state) {
  state.chunks_put = 0;
  state.chunks_stored = 0;
}

void on_coordinator_lost(State& state, const Error& reason) {
  if (!state.lost) state.lost = reason;
}

}  // namespace quench::worker
