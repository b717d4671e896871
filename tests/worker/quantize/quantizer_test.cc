// The whole quantization of an artifact on a gang of threads: the same records for any number of ranks, and
// after a crash at any block, with or without its hidden states.
#include "worker/quantize/quantizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <span>
#include <string_view>

#include "cluster/collective/local.h"
#include "cluster/collective/thread_gang.h"
#include "schemas/bit_budget.h"
#include "schemas/error.h"
#include "tests/kernels/emulated_device.h"
#include "tests/support/processes.h"
#include "tests/worker/quantize/gang_fixture.h"
#include "worker/quantize/bit_choice.h"
#include "worker/quantize/methods.h"

namespace quench::worker {
namespace {

using testing::fixture;
using testing::ScratchDirectory;

QuantizeOrder order_for(const QuantizeSpec& recipe, const ScratchDirectory& scratch) {
  return order_of(fixture("odd_llama"), recipe, scratch);
}

void run_gang(std::uint32_t ranks, const QuantizeOrder& order, Store& store, const std::string& isa = "") {
  run_gang(ranks, order, windows(5, 24, 131, 512), store, isa);
}

QuantizeSpec gptq(std::uint32_t bits, bool act_order) {
  QuantizeSpec recipe;
  recipe.bits = bits;
  recipe.group_size = 32;
  recipe.act_order = act_order;
  recipe.symmetric = false;
  return recipe;
}

// What odd_llama's files, norms and outer tensors take, and a third of the range from 2 to 8 bits for its linears.
QuantizeSpec budgeted() {
  QuantizeSpec recipe = gptq(0, true);
  recipe.group_size = -1;
  recipe.budget_gib = 900'000 / kGiB;
  return recipe;
}

std::vector<QuantizeSpec> recipes() {
  QuantizeSpec rtn = gptq(3, false);
  rtn.method = Method::rtn;
  QuantizeSpec int8;
  int8.method = Method::int8;
  int8.bits = 8;
  QuantizeSpec none;
  none.method = Method::none;
  return {gptq(4, false), gptq(2, true), rtn, int8, none, budgeted()};
}

class Quantizer : public ::testing::TestWithParam<std::size_t> {};

TEST_P(Quantizer, GivesTheSameRecordsForAnyNumberOfRanks) {
  const ScratchDirectory scratch;
  std::string expected;
  for (const std::uint32_t ranks : {1u, 2u, 3u, 7u}) {
    Store store;
    const ScratchDirectory own;
    run_gang(ranks, order_for(recipes()[GetParam()], own), store);
    ASSERT_EQ(store.blocks.size(), 3u);
    ASSERT_TRUE(store.done);
    if (expected.empty()) expected = fingerprint(store);
    EXPECT_EQ(fingerprint(store), expected) << ranks << " ranks";
  }
}

// The same tensors from the GPU's kernels, which keep the sums, the factor and the hidden states in memory of their
// own: what the host forgot to fetch or to send would show here.
class QuantizerOnDevice : public Quantizer {};

TEST_P(QuantizerOnDevice, GivesTheSameTensorsWithMemoryOfItsOwn) {
  const ScratchDirectory scratch;
  Store cpu;
  run_gang(1, order_for(recipes()[GetParam()], scratch), cpu);
  const ScratchDirectory own;
  Store store;
  run_gang(2, order_for(recipes()[GetParam()], own), store, "emulated");
  EXPECT_EQ(fingerprint(store, Losses::left_out), fingerprint(cpu, Losses::left_out));
  for (std::size_t b = 0; b < store.blocks.size(); ++b)
    for (std::size_t i = 0; i < store.blocks[b].losses.size(); ++i)
      EXPECT_NEAR(store.blocks[b].losses[i].loss, cpu.blocks[b].losses[i].loss, 1e-5 * cpu.blocks[b].losses[i].loss);
}

INSTANTIATE_TEST_SUITE_P(Recipes, Quantizer, ::testing::Range<std::size_t>(0, 6));
// Without the budget: twelve choices of every linear take the emulated device minutes.
INSTANTIATE_TEST_SUITE_P(Recipes, QuantizerOnDevice, ::testing::Range<std::size_t>(0, 5));

// In products of bf16: records of their own, the same for any ranks, threads and instruction set, with nearly fp32's losses.
void expect_the_same_in_bf16(QuantizeSpec recipe, std::span<const std::string_view> isas) {
  const CalibrationSet calibration = windows(5, 24, 131, 512);
  struct Result {
    std::string fingerprint;
    double loss = 0;
  };
  const auto quantized = [&](std::uint32_t ranks, const std::string& isa, int threads) {
    Store store;
    const ScratchDirectory scratch;
    run_gang(ranks, order_for(recipe, scratch), calibration, store, isa, threads);
    Result result{fingerprint(store)};
    for (const BlockDone& block : store.blocks)
      for (const LinearLoss& linear : block.losses) result.loss += linear.relative_loss;
    return result;
  };
  const Result fp32 = quantized(1, "", 1);
  recipe.arithmetic = Arithmetic::bf16;
  const Result bf16 = quantized(1, "", 1);
  EXPECT_NE(bf16.fingerprint, fp32.fingerprint);
  EXPECT_NEAR(bf16.loss, fp32.loss, 0.01 * fp32.loss);
  ::testing::Test::RecordProperty("loss_of_fp32", std::to_string(bf16.loss / fp32.loss));
  EXPECT_EQ(quantized(3, "", 2).fingerprint, bf16.fingerprint);
  for (const std::string_view isa : isas)
    EXPECT_EQ(quantized(2, std::string(isa), 1).fingerprint, bf16.fingerprint) << isa;
  // A GPU's kernels have none: told, and nothing else in its place.
  try {
    quantized(1, "emulated", 1);
    FAIL() << "a backend without products of bf16 took the recipe";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_NE(std::string(error.what()).find("arithmetic bf16: the backend cuda-exact"), std::string::npos) << error.what();
  }
}

TEST(Quantizer, InBf16GivesTheSameRecordsEverywhere) {
  expect_the_same_in_bf16(gptq(4, true), kernels::runnable_isas());
}

TEST(Quantizer, AwqInBf16GivesTheSameRecordsEverywhere) {
  QuantizeSpec awq;
  awq.method = Method::awq;
  awq.group_size = -1;
  expect_the_same_in_bf16(with_fixed_settings(awq), {});  // the search in scalar code takes seconds
}

TEST(Quantizer, GoesOnAfterADeathAtAnyBlockOnOtherRanksWithAndWithoutItsHiddenStates) {
  const QuantizeSpec recipe = gptq(4, true);
  Store whole;
  const ScratchDirectory reference;
  run_gang(2, order_for(recipe, reference), whole);
  for (const std::uint32_t death : {0u, 1u, 2u})
    for (const bool keep_states : {true, false}) {
      const ScratchDirectory scratch;
      QuantizeOrder order = order_for(recipe, scratch);
      Store store;
      store.die_at_block = death;
      EXPECT_THROW(run_gang(2, order, store), Error);
      ASSERT_EQ(store.blocks.size(), death);
      store.die_at_block.reset();
      if (!keep_states) std::filesystem::remove_all(scratch / "hidden");
      order.first_block = death;
      order.outer_committed = true;
      for (const BlockDone& block : store.blocks)
        order.committed.insert(order.committed.end(), block.tensors.begin(), block.tensors.end());
      run_gang(3, order, store);
      EXPECT_EQ(fingerprint(store), fingerprint(whole)) << "death at block " << death;
      EXPECT_EQ(store.done->replayed_blocks, keep_states ? 0u : death);
    }
}

// The choice is made once, and is part of what a gang resumes from.
TEST(Quantizer, KeepsItsChoiceOfBitsAfterADeath) {
  Store whole;
  const ScratchDirectory reference;
  run_gang(2, order_for(budgeted(), reference), whole);
  EXPECT_EQ(whole.outer->choices.size(), 21u);
  const ScratchDirectory scratch;
  QuantizeOrder order = order_for(budgeted(), scratch);
  Store store;
  store.die_at_block = 1;
  EXPECT_THROW(run_gang(3, order, store), Error);
  store.die_at_block.reset();
  order.first_block = 1;
  order.outer_committed = true;
  order.choices = store.outer->choices;
  order.committed = store.blocks.at(0).tensors;
  run_gang(1, order, store);
  EXPECT_EQ(fingerprint(store), fingerprint(whole));
}

// Budgets that differ in nothing else have one pass over the unquantized model between them, and choose what they would alone.
TEST(Quantizer, BudgetsOfOneJobShareThePassThatPredicts) {
  class CountingSink final : public MemorySink {
   public:
    using MemorySink::MemorySink;
    void report_step(std::uint32_t, std::uint32_t, const std::string& step) override { predicted += step.starts_with("choosing bits"); }
    int predicted = 0;
  };
  QuantizeSpec smaller = budgeted(), other = budgeted();
  smaller.budget_gib = 750'000 / kGiB;
  other.damping = 0.05;
  const std::vector<std::pair<QuantizeSpec, int>> runs = {{budgeted(), 12}, {smaller, 0}, {other, 12}, {smaller, 12}};
  std::vector<Store> shared(runs.size());
  const CalibrationSet calibration = windows(5, 24, 131, 512);
  cluster::run_thread_gang(2, {}, [&](cluster::Collective& gang) {
    const auto backend = kernels::make_cpu_backend({1, ""});
    const auto source = open_model_directory(fixture("odd_llama"));
    PricedModel priced;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      const ScratchDirectory scratch;
      CountingSink sink(shared[i]);
      quantize_artifact({*backend, gang, *source, sink, {}, &priced}, order_for(runs[i].first, scratch), calibration,
                        [](const ChunkRef&) -> std::vector<std::uint8_t> { throw Error(ErrorCode::internal, "nothing is committed"); });
      if (gang.rank() == 0) {
        EXPECT_EQ(sink.predicted, runs[i].second) << "run " << i;
      }
    }
  });
  for (std::size_t i = 0; i < runs.size(); ++i) {
    Store alone;
    const ScratchDirectory scratch;
    run_gang(1, order_for(runs[i].first, scratch), alone);
    EXPECT_EQ(fingerprint(shared[i]), fingerprint(alone)) << "run " << i;
    EXPECT_EQ(shared[i].outer->choices, alone.outer->choices) << "run " << i;
  }
}

TEST(Quantizer, HoldsItsBudgetAndLosesLessThanOneSizeForAll) {
  const auto quantized = [](const QuantizeSpec& recipe, Store& store) {
    const ScratchDirectory scratch;
    run_gang(1, order_for(recipe, scratch), store);
    std::uint64_t bytes = 0;
    for (const FileRecord& file : store.outer->files) bytes += file.chunk.bytes;
    const auto add = [&](const TensorRecord& tensor) {
      for (const ChunkRef& chunk : tensor.chunks) bytes += chunk.bytes;
      bytes += tensor.permutation.bytes;
    };
    for (const TensorRecord& tensor : store.outer->tensors) add(tensor);
    for (const BlockDone& block : store.blocks)
      for (const TensorRecord& tensor : block.tensors) add(tensor);
    return bytes;
  };
  const auto mean_loss = [](const Store& store) {
    double sum = 0;
    for (const BlockDone& block : store.blocks)
      for (const LinearLoss& loss : block.losses) sum += loss.relative_loss / 21;
    return sum;
  };
  for (const std::uint32_t bits : {2u, 3u, 4u}) {
    Store uniform, chosen;
    const std::uint64_t bytes = quantized(gptq(bits, false), uniform);
    QuantizeSpec recipe = gptq(0, false);
    recipe.budget_gib = static_cast<double>(bytes) / kGiB;
    const std::uint64_t taken = quantized(recipe, chosen);
    EXPECT_LE(taken, bytes) << bits << " bits";
    EXPECT_GT(taken, bytes - bytes / 50) << "and makes use of it";
    EXPECT_LT(mean_loss(chosen), 0.95 * mean_loss(uniform)) << bits << " bits";
  }
}

TEST(Quantizer, LessBitsLoseMoreAndGptqLosesLessThanRounding) {
  const auto mean_loss = [](const QuantizeSpec& recipe) {
    const ScratchDirectory scratch;
    Store store;
    run_gang(1, order_for(recipe, scratch), store);
    double sum = 0;
    for (const BlockDone& block : store.blocks)
      for (const LinearLoss& loss : block.losses) sum += loss.relative_loss;
    return sum;
  };
  const double eight = mean_loss(gptq(8, false)), four = mean_loss(gptq(4, false)),
               two = mean_loss(gptq(2, false));
  EXPECT_GT(eight, 0);
  EXPECT_LT(eight, four / 20);
  EXPECT_LT(four, two / 4);
}

TEST(Quantizer, AnInputThatIsAlwaysZeroIsSolved) {
  const auto backend = kernels::make_cpu_backend({1, ""});
  const auto gang = cluster::make_local_collective();
  constexpr std::int64_t kRows = 20, kColumns = 70, kTokens = 40;
  std::vector<float> inputs(kTokens * kColumns), weights(kRows * kColumns);
  for (std::size_t i = 0; i < inputs.size(); ++i)
    inputs[i] = i % kColumns == 5 ? 0.0f : static_cast<float>((i * 37) % 19) - 9;
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>((i * 53) % 23) / 23 - 0.5f;
  const kernels::ConstMatrixView sequence(inputs.data(), kTokens, kColumns);
  for (const double damping : {0.01, 1e-12}) {
    const Hessian hessian =
        sum_hessian(*backend, *gang, std::span(&sequence, 1), kColumns, kTokens, false, "layer");
    EXPECT_EQ(hessian.diagonal[5], 0.0);
    // Fewer tokens than columns: without enough damping the Hessian is singular, and more is added.
    const Factor factor = factor_hessian(*backend, *gang, hessian, damping, "layer");
    EXPECT_GT(factor.damping, 0);
    std::vector<float> solved(weights.size());
    const SolvedTile tile =
        solve_tile(*backend, gptq(4, false), {weights.data(), kRows, kColumns}, &hessian, &factor, solved);
    EXPECT_TRUE(std::isfinite(tile.loss));
    for (const float value : solved) ASSERT_TRUE(std::isfinite(value));
    EXPECT_LT(tile.loss / tile.energy, 0.05);
  }
}

TEST(Quantizer, InputsThatOverflowAreNamed) {
  const auto backend = kernels::make_cpu_backend({1, ""});
  const auto gang = cluster::make_local_collective();
  for (const float poison :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> inputs(8 * 16, 1.0f);
    inputs[3 * 16 + 7] = poison;
    const kernels::ConstMatrixView sequence(inputs.data(), 8, 16);
    try {
      sum_hessian(*backend, *gang, std::span(&sequence, 1), 16, 8, false, "mlp.down_proj");
      FAIL() << "accepted " << poison;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("mlp.down_proj: input 7"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace quench::worker
