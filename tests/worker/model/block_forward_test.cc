// The quantizer's stepwise forward gives the bits of the whole forward, also when linears are replaced on the
// way.
#include "worker/model/block_forward.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "tests/worker/model/model_fixtures.h"

namespace quench::worker::test {
namespace {

class BlockForwardTest : public testing::TestWithParam<std::string_view> {
 protected:
  BlockForwardTest()
      : backend_(backend_of(GetParam())),
        source_(open_model_directory(fixture("odd_llama"))),
        config_(source_->config()),
        rope_(kernels::rope_table(config_.head_dim, config_.rope_theta, config_.rope_linear_factor, 700)),
        context_{*backend_, config_, rope_} {}

  // Embedding-sized random rows.
  std::vector<float> random_hidden(std::int64_t rows) const {
    std::mt19937 generator(7);
    std::vector<float> hidden(static_cast<std::size_t>(rows) * config_.hidden_size);
    for (float& value : hidden)
      value = static_cast<float>(static_cast<double>(generator()) / 4294967296.0 - 0.5);
    return hidden;
  }
  kernels::MatrixView view(std::vector<float>& hidden) const {
    return {hidden.data(), static_cast<std::int64_t>(hidden.size() / config_.hidden_size),
            config_.hidden_size};
  }
  // forward_block on each sequence by itself.
  std::vector<float> whole_forward(const Block& block, std::vector<float> hidden,
                                   const std::vector<std::int64_t>& lengths) {
    BlockWorkspace workspace;
    std::int64_t begin = 0;
    for (const std::int64_t length : lengths) {
      kernels::KvCache cache(config_.kv_heads, config_.head_dim, length);
      std::vector<std::int32_t> positions(static_cast<std::size_t>(length));
      std::iota(positions.begin(), positions.end(), 0);
      const kernels::KvSegment segment{&cache.view(), 0, length};
      forward_block(context_, block, positions, {&segment, 1}, view(hidden).row_range(begin, length),
                    workspace);
      begin += length;
    }
    return hidden;
  }
  // A coarser copy of a linear: what a quantizer would put in its place.
  static Linear coarser(const Linear& linear) {
    std::vector<float> weights = linear.dequantized();
    for (float& weight : weights) weight = static_cast<float>(static_cast<int>(weight * 8)) / 8;
    return Linear::dense(std::span<const float>(weights), linear.outputs(), linear.inputs());
  }
  std::vector<float> copy(kernels::ConstMatrixView matrix) {
    return {matrix.data, matrix.data + matrix.rows * matrix.cols};
  }

  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<WeightSource> source_;
  ModelConfig config_;
  kernels::RopeTable rope_;
  BlockContext context_;
  const std::vector<std::int64_t> lengths_ = {3, 17, 1, 40, 19};
};

// 640 rows in all are more than the temporaries hold at once, and one sequence is beyond that alone.
TEST_P(BlockForwardTest, FinishGivesTheBitsOfTheWholeForward) {
  const std::vector<std::int64_t> lengths = {3, 17, 1, 550, 69};
  const Block block = load_block(*source_, 1);
  std::vector<float> hidden = random_hidden(640);
  const std::vector<float> expected = whole_forward(block, hidden, lengths);
  BlockForward forward(context_, block, lengths, view(hidden));
  forward.finish();
  EXPECT_EQ(hidden, expected);
}

TEST_P(BlockForwardTest, StagesHaveTheirShapesAndFirstIsTheNormedInput) {
  const Block block = load_block(*source_, 0);
  std::vector<float> hidden = random_hidden(80);
  std::vector<float> normed(hidden.size());
  attention_norm(context_, block, view(hidden), view(normed));
  BlockForward forward(context_, block, lengths_, view(hidden));
  EXPECT_EQ(copy(forward.stage_input(0)), normed);
  for (const LinearShape& linear : block_linears(config_, 0)) {
    const kernels::ConstMatrixView input = forward.stage_input(linear.stage);
    EXPECT_EQ(input.cols, linear.inputs) << linear.short_name;
    EXPECT_EQ(input.rows, 80) << linear.short_name;
  }
}

// True-sequential: a stage sees the linears of the stages before it as they were replaced, and nothing else
// changed.
TEST_P(BlockForwardTest, LaterStagesSeeReplacedLinears) {
  Block block = load_block(*source_, 0);
  const Block original = load_block(*source_, 0);
  std::vector<float> hidden = random_hidden(80);
  const std::vector<float> input = hidden;
  const std::vector<BlockLinear> stages[] = {{kQ, kK, kV}, {kO}, {kGate, kUp}, {kDown}};

  BlockForward forward(context_, block, lengths_, view(hidden));
  for (std::uint32_t stage = 0; stage < kBlockStages; ++stage) {
    // A fresh forward through the block as it is now must find the same inputs.
    std::vector<float> fresh_hidden = input;
    BlockForward fresh(context_, block, lengths_, view(fresh_hidden));
    const std::vector<float> expected = copy(fresh.stage_input(stage));
    EXPECT_EQ(copy(forward.stage_input(stage)), expected) << stage;
    // And another one than through the original block.
    std::vector<float> original_hidden = input;
    BlockForward untouched(context_, original, lengths_, view(original_hidden));
    EXPECT_EQ(copy(untouched.stage_input(stage)) == expected, stage == 0) << stage;
    for (const BlockLinear index : stages[stage]) block.linears[index] = coarser(block.linears[index]);
  }
  forward.finish();
  EXPECT_EQ(hidden, whole_forward(block, input, lengths_));
}

TEST_P(BlockForwardTest, SequencesDoNotDependOnEachOther) {
  const Block block = load_block(*source_, 2);
  std::vector<float> together = random_hidden(80);
  std::vector<float> apart = together;
  BlockForward all(context_, block, lengths_, view(together));
  all.finish();
  BlockForward first(context_, block, std::span(lengths_).first(2), view(apart).row_range(0, 20));
  BlockForward rest(context_, block, std::span(lengths_).subspan(2), view(apart).row_range(20, 60));
  rest.finish();
  first.finish();
  EXPECT_EQ(apart, together);
}

INSTANTIATE_TEST_SUITE_P(Isa, BlockForwardTest,
                         testing::ValuesIn(kernels::runnable_isas().begin(), kernels::runnable_isas().end()),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace quench::worker::test
