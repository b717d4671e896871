// Counts against figures that were worked out by hand.
#include "coordinator/plan/work_counts.h"

#include <gtest/gtest.h>

namespace quench::coordinator {
namespace {

// q 128x128, k and v 64x128, o 128x128, gate and up 256x128, down 128x256: 147,456 weights, four tiles each.
ModelConfig small_config() {
  ModelConfig config;
  config.hidden_size = 128;
  config.intermediate_size = 256;
  config.layers = 3;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 32;
  config.vocab_size = 1000;
  return config;
}

BlockCounts counts_on(std::uint32_t ranks, const QuantizeSpec& recipe = {}) {
  const ModelConfig config = small_config();
  return count_block({config, recipe, 4, 64, ranks, 2.0});
}

TEST(WorkCounts, TrianglesAreWholePanels) {
  EXPECT_EQ(triangle_elements(128), 128 * 64 + 64 * 64);
  EXPECT_EQ(triangle_elements(256), (256 + 192 + 128 + 64) * 64);
  EXPECT_EQ(triangle_elements(100), 100 * 64 + 36 * 64);
}

TEST(WorkCounts, AFactorizationIsSharedByPanels) {
  // Panels of 128 and 64 rows: 192 x 64², and one update of 64 x 64 by 64.
  EXPECT_EQ(factor_flops(128, 1), 786'432 + 524'288);
  EXPECT_EQ(factor_flops(128, 2), 786'432 + 524'288);
  // Updates of 192, 128 and 64 rows by one, two and three panels; the second rank has the first and the last.
  EXPECT_EQ(factor_flops(256, 1), 2'621'440 + 1'572'864 + 2'097'152 + 1'572'864);
  EXPECT_EQ(factor_flops(256, 2), 2'621'440 + 1'572'864 + 1'572'864);
  // C³/3 for a large one.
  EXPECT_NEAR(factor_flops(22'016, 1) / (22'016.0 * 22'016 * 22'016 / 3), 1, 0.02);
}

TEST(WorkCounts, CollectivesFollowTreeAndRing) {
  EXPECT_EQ(broadcast_traffic(1000, 1).messages, 0);
  EXPECT_EQ(broadcast_traffic(1000, 4).messages, 2);
  EXPECT_EQ(broadcast_traffic(1000, 4).bytes, 2000);
  EXPECT_EQ(broadcast_traffic(1 << 20, 2).messages, 1);
  EXPECT_EQ(broadcast_traffic(1 << 20, 2).bytes, 1 << 20);
  EXPECT_EQ(broadcast_traffic(1 << 20, 4).messages, 6);
  EXPECT_EQ(broadcast_traffic(1 << 20, 4).bytes, 1.5 * (1 << 20));
  EXPECT_EQ(all_gather_traffic(1000, 4).messages, 3);
  EXPECT_EQ(all_gather_traffic(1000, 4).bytes, 750);
}

TEST(WorkCounts, OneRankDoesAllOfABlock) {
  const BlockCounts counts = counts_on(1);
  // 256 tokens; attention over 32.5 tokens in the mean, 128 dimensions, two products of two flops.
  EXPECT_EQ(counts.forward_flops, 2.0 * 256 * 147'456 + 4 * 256 * 32.5 * 128);
  ASSERT_EQ(counts.stages.size(), 4u);
  EXPECT_EQ(counts.stages[0].columns, 128);
  EXPECT_EQ(counts.stages[0].hessian_flops, 2.0 * 256 * 12'288);
  EXPECT_EQ(counts.stages[0].hessian_sums, (4.0 + 2) * 12'288);
  EXPECT_EQ(counts.stages[0].factor_flops, 1'310'720);
  EXPECT_EQ(counts.stages[0].solve_flops, 3.0 * (128 + 64 + 64) * 128 * 128);
  EXPECT_EQ(counts.stages[3].columns, 256);
  EXPECT_EQ(counts.stages[3].solve_flops, 3.0 * 128 * 256 * 256);
  EXPECT_EQ(counts.read_bytes, 147'456 * 2);
  EXPECT_EQ(counts.scratch_bytes, 256 * 128 * 4);
  EXPECT_EQ(counts.traffic.messages, 0);
  EXPECT_EQ(counts.traffic.bytes, 0);
  EXPECT_EQ(counts.rounded_weights, 0);
}

TEST(WorkCounts, RanksShareTokensAndTiles) {
  const BlockCounts two = counts_on(2), three = counts_on(3);
  EXPECT_EQ(two.forward_flops, counts_on(1).forward_flops / 2);
  EXPECT_EQ(two.stages[0].solve_flops, 3.0 * (64 + 32 + 32) * 128 * 128);
  // Four tiles on three ranks: one has two. Four sequences: one has two.
  EXPECT_EQ(three.stages[0].solve_flops, two.stages[0].solve_flops);
  EXPECT_EQ(three.forward_flops, two.forward_flops);
  EXPECT_GT(two.traffic.bytes, 0);
  EXPECT_LT(two.memory_bytes, counts_on(1).memory_bytes);
}

TEST(WorkCounts, ActivationOrderSumsEverywhere) {
  QuantizeSpec ordered;
  ordered.act_order = true;
  const double panels = 3 * 2 + 4, elements = 3 * 12'288 + 40'960;
  const BlockCounts plain = counts_on(2), sorted = counts_on(2, ordered);
  // The sums come back whole instead of the Hessian's panels one by one; a permutation for each linear.
  const double permutations = 4.0 * (6 * 128 + 256) / 2;
  EXPECT_EQ(sorted.traffic.messages - plain.traffic.messages, 4 - panels);
  EXPECT_EQ(sorted.traffic.bytes - plain.traffic.bytes, elements * 8 / 2 - elements * 4 + permutations);
}

TEST(WorkCounts, OtherMethodsNeitherForwardNorFactor) {
  QuantizeSpec rtn;
  rtn.method = Method::rtn;
  EXPECT_EQ(counts_on(1, rtn).rounded_weights, 147'456);
  EXPECT_EQ(counts_on(2, rtn).rounded_weights, 147'456 / 2);
  EXPECT_EQ(counts_on(1, rtn).forward_flops, 0);
  EXPECT_TRUE(counts_on(1, rtn).stages.empty());
  QuantizeSpec none;
  none.method = Method::none;
  EXPECT_EQ(counts_on(1, none).chunk_bytes, 147'456 * 2);
  EXPECT_EQ(counts_on(1, none).rounded_weights, 0);
}

}  // namespace
}  // namespace quench::coordinator
