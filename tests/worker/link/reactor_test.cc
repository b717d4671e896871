// What a rank keeps for its next coordinator, and what it forgets when it has its answer.
#include "worker/reactor.h"

#include <gtest/gtest.h>

namespace quench::worker {
namespace {

class Holding : public testing::Test {
 protected:
  Holding() {
    state.holds = true;
    QuantizeOrder order;
    order.artifact = 1;
    say(order);
    on_order_taken(state, order);
  }
  void say(const Message& message) { on_message(state, message, {}); }
  void put(const std::string& text) {
    state.held.push_back({state.step, sha256(text), nullptr});
    ++state.chunks_put;
  }
  std::vector<Digest> held() const {
    std::vector<Digest> digests;
    for (const HeldChunk& chunk : state.held) digests.push_back(chunk.digest);
    return digests;
  }
  State state;
};

TEST_F(Holding, ChunksUntilACommitNamesThem) {
  put("outer");
  on_step_put(state);
  put("block 0");
  say(ChunkStored{2});
  EXPECT_EQ(state.held.size(), 2u) << "stored is not durable";
  say(BlockCommitted{1, kOuterBlock});
  EXPECT_EQ(held(), std::vector{sha256("block 0")}) << "a rank may be ahead of rank 0's commit";
  on_step_put(state);
  put("block 1");
  say(BlockCommitted{1, 0});
  EXPECT_EQ(held(), std::vector{sha256("block 1")});
  EXPECT_TRUE(state.commits.empty()) << "this rank has not asked";
}

TEST_F(Holding, WhatAnEarlierCoordinatorCommittedIsForgotten) {
  put("outer");
  on_step_put(state);
  put("block 0");
  on_step_put(state);
  put("block 1");
  on_reconnected(state);
  EXPECT_EQ(state.chunks_put, 0u);
  say(Resumed{1, 0, true});
  EXPECT_EQ(state.held.size(), 2u);
  say(Resumed{1, 1, true});
  EXPECT_EQ(held(), std::vector{sha256("block 1")});
  say(Resumed{2, 0, false});
  EXPECT_TRUE(state.held.empty()) << "the artifact was published";
}

TEST_F(Holding, AnOrderThatLacksBlocksOnlyBeginsBehindThem) {
  QuantizeOrder order;
  order.artifact = 3;
  order.outer_committed = true;
  order.first_block = 2;
  on_order_taken(state, order);
  put("block 2");
  say(BlockCommitted{3, 1});
  EXPECT_EQ(state.held.size(), 1u);
  say(BlockCommitted{3, 2});
  EXPECT_TRUE(state.held.empty());
}

TEST_F(Holding, QuestionsUntilTheirAnswer) {
  state.unanswered = {BlockDone{1, 4, {}, {}, 0, false}};
  say(BlockCommitted{1, 4});
  EXPECT_TRUE(state.unanswered.empty());
  EXPECT_EQ(state.commits.size(), 1u);
  state.unanswered = {ArtifactDone{1, 0, 0}, UsageDone{}};
  say(UsageKept{});
  EXPECT_EQ(state.unanswered.size(), 1u) << "the artifact's answer is the next order";
  QuantizeOrder next;
  next.artifact = 2;
  say(next);
  EXPECT_TRUE(state.unanswered.empty());
  EXPECT_EQ(state.orders_come, 3u);
  say(ExitOrder{});
  EXPECT_EQ(state.orders_come, kAllOrders);
  state.unanswered = {ChunkRequest{sha256("c")}};
  say(RequestFailed{ErrorCode::corrupt, "damaged"});
  EXPECT_TRUE(state.unanswered.empty());
}

}  // namespace
}  // namespace quench::worker
