// The gradient of a block beside differences of its loss, the same on every instruction set, and what tuning gains.
// tests/peers holds it against PyTorch's.
#include "worker/quantize/aqlm/block_gradient.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "cluster/collective/local.h"
#include "tests/worker/model/model_fixtures.h"
#include "worker/model/block_forward.h"
#include "worker/quantize/aqlm/fine_tuning.h"

namespace quench::worker {
namespace {

// A block of random codebook entries with the shapes of the tiny model.
struct Problem {
  ModelConfig config = parse_model_config(test::tiny_config(), "tiny");
  kernels::RopeTable rope = kernels::rope_table(config.head_dim, config.rope_theta, config.rope_linear_factor, 64);
  Block block;
  std::vector<float> inputs, targets;
  std::int64_t length = 12, sequences = 9;

  explicit Problem(std::uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::size_t which = 0;
    for (const LinearShape& linear : block_linears(config, 0)) {
      const AdditiveTileShape shape{linear.outputs, linear.inputs, 2, 4, 8};
      std::vector<std::uint8_t> codebooks, chunk(shape.bytes());
      for (std::uint64_t i = 0; i < shape.codebook_bytes() / 2; ++i) {
        const std::uint16_t half = kernels::f32_to_f16(normal(random));
        codebooks.push_back(static_cast<std::uint8_t>(half));
        codebooks.push_back(static_cast<std::uint8_t>(half >> 8));
      }
      for (std::uint64_t i = 0; i < shape.code_bytes(); ++i) chunk[i] = static_cast<std::uint8_t>(random());
      for (std::uint64_t i = 0; i < shape.scale_bytes() / 2; ++i) {
        const std::uint16_t half = i < linear.outputs ? kernels::f32_to_f16(0.1f + 0.02f * normal(random)) : std::uint16_t{0};
        std::memcpy(chunk.data() + shape.code_bytes() + 2 * i, &half, 2);
      }
      block.linears[which] = Linear::additive(linear.outputs, linear.inputs, shape, (linear.outputs + 15) / 16 * 16, codebooks);
      block.linears[which++].set_tile(0, chunk);
    }
    for (std::uint32_t c = 0; c < config.hidden_size; ++c) {
      block.attention_norm.push_back(1 + 0.1f * normal(random));
      block.mlp_norm.push_back(1 + 0.1f * normal(random));
    }
    for (std::int64_t i = 0; i < sequences * length * config.hidden_size; ++i) {
      inputs.push_back(normal(random));
      targets.push_back(normal(random));
    }
  }
  kernels::ConstMatrixView all(const std::vector<float>& values) const {
    return {values.data(), sequences * length, static_cast<std::int64_t>(config.hidden_size)};
  }
};

TEST(BlockGradient, IsTheSlopeOfTheLossForEveryKindOfParameter) {
  const Problem p(3);
  const auto backend = kernels::make_cpu_backend({1, ""});
  TrainedBlock block(*backend, p.config, p.rope, p.block);
  const kernels::ConstMatrixView x = p.all(p.inputs).row_range(0, p.length), y = p.all(p.targets).row_range(0, p.length);
  const double unit = 0x1p36;
  const std::vector<double> units(TrainedBlock::kTensors, unit);
  std::vector<std::int64_t> sums(block.parameters().size(), 0);
  std::vector<double> largest(TrainedBlock::kTensors, 0);
  const double error = block.add_gradient(x, y, 1.0, units, sums, largest);
  EXPECT_EQ(error, block.squared_error(x, y));
  const std::vector<float> start = block.parameters();
  std::mt19937 random(8);
  for (std::size_t k = 0; k < TrainedBlock::kTensors; ++k) {
    const TrainedBlock::Tensor& tensor = block.tensors()[k];
    EXPECT_GT(largest[k], 0) << k;
    // Along a random direction within the tensor, so that small slopes do not drown.
    std::vector<float> direction(start.size(), 0.0f);
    double slope = 0, norm = 0;
    for (std::size_t i = tensor.begin; i < tensor.begin + tensor.count; ++i) {
      direction[i] = random() % 2 == 0 ? 1.0f : -1.0f;
      slope += static_cast<double>(sums[i]) / unit * direction[i];
      norm += std::pow(static_cast<double>(sums[i]) / unit, 2);
    }
    const float step = 1e-3f;
    std::vector<float> moved = start;
    for (std::size_t i = 0; i < moved.size(); ++i) moved[i] = start[i] + step * direction[i];
    block.set_parameters(moved);
    const double up = block.squared_error(x, y);
    for (std::size_t i = 0; i < moved.size(); ++i) moved[i] = start[i] - step * direction[i];
    block.set_parameters(moved);
    const double down = block.squared_error(x, y);
    EXPECT_NEAR((up - down) / (2.0 * step), slope, 0.02 * std::sqrt(norm) + 1e-2) << "tensor " << k;
    block.set_parameters(start);
  }
}

TEST(BlockGradient, HasTheSameBitsOnEveryInstructionSetAndAnyThreads) {
  const Problem p(4);
  std::vector<std::int64_t> expected;
  const std::vector<double> units(TrainedBlock::kTensors, 0x1p36);
  for (const std::string_view isa : kernels::runnable_isas())
    for (const int threads : {1, 3}) {
      const auto backend = kernels::make_cpu_backend({threads, std::string(isa)});
      TrainedBlock block(*backend, p.config, p.rope, p.block);
      std::vector<std::int64_t> sums(block.parameters().size(), 0);
      std::vector<double> largest(TrainedBlock::kTensors, 0);
      for (const std::int64_t s : {0, 1})
        block.add_gradient(p.all(p.inputs).row_range(s * p.length, p.length), p.all(p.targets).row_range(s * p.length, p.length), 0.5,
                           units, sums, largest);
      if (expected.empty()) expected = sums;
      EXPECT_EQ(sums, expected) << isa << ", " << threads;
    }
}

// Away from what the model itself gives at first, tuning comes nearer to it; at a rate that destroys it stays.
TEST(FineTuning, KeepsWhatValidatesBest) {
  Problem p(5);
  const auto backend = kernels::make_cpu_backend({2, ""});
  const auto gang = cluster::make_local_collective();
  // Targets: the output of the block with other norms.
  for (float& value : p.block.attention_norm) value *= 1.2f;
  for (float& value : p.block.mlp_norm) value *= 0.9f;
  p.targets = p.inputs;
  const std::vector<std::int64_t> lengths(static_cast<std::size_t>(p.sequences), p.length);
  BlockForward({*backend, p.config, p.rope}, p.block, lengths,
               {p.targets.data(), p.sequences * p.length, static_cast<std::int64_t>(p.config.hidden_size)})
      .finish();
  for (float& value : p.block.attention_norm) value /= 1.2f;
  for (float& value : p.block.mlp_norm) value /= 0.9f;
  const TuningData data{p.all(p.inputs), p.all(p.targets), p.length, static_cast<std::uint32_t>(p.sequences),
                        {0, static_cast<std::uint32_t>(p.sequences)}};
  QuantizeSpec recipe;
  recipe.method = Method::aqlm;
  recipe.fine_tuning = FineTuning::block;
  recipe.fine_tune_batch = 3;
  recipe.validation_sequences = 2;
  recipe.learning_rate = 5e-3;
  TrainedBlock block(*backend, p.config, p.rope, p.block);
  const std::vector<float> start = block.as_stored();
  std::uint32_t told = 0;
  const TuningResult result = tune_block(*gang, recipe, data, KeptFile({}, {}), block, [&](const std::string&) { ++told; });
  EXPECT_LT(result.error_after, 0.5 * result.error_before);
  EXPECT_EQ(told, result.epochs);
  EXPECT_EQ(block.as_stored(), block.parameters());

  TrainedBlock ruined(*backend, p.config, p.rope, p.block);
  recipe.learning_rate = 1;
  const TuningResult nothing = tune_block(*gang, recipe, data, KeptFile({}, {}), ruined, [](const std::string&) {});
  EXPECT_EQ(nothing.error_after, nothing.error_before);
  EXPECT_EQ(nothing.epochs, recipe.patience);
  EXPECT_EQ(ruined.parameters(), start);
}

}  // namespace
}  // namespace quench::worker
