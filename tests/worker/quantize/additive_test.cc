// AQLM by a gang: the same records for any number of ranks, threads and instruction sets, after a crash too; less lost
// than where it starts; and a packed forward with the bits of the dequantized weights.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <numeric>
#include <random>

#include "cluster/collective/local.h"
#include "tests/support/processes.h"
#include "tests/worker/model/model_fixtures.h"
#include "tests/worker/quantize/gang_fixture.h"
#include "worker/quantize/aqlm/aqlm.h"
#include "worker/quantize/aqlm/exact_totals.h"

namespace quench::worker {
namespace {

using testing::ScratchDirectory;

QuantizeSpec aqlm(std::uint32_t codebooks, std::uint32_t bits) {
  QuantizeSpec recipe;
  recipe.method = Method::aqlm;
  recipe.group_size = 8;
  recipe.codebooks = codebooks;
  recipe.codebook_bits = bits;
  return recipe;
}

QuantizeSpec tuned(QuantizeSpec recipe, FineTuning tuning = FineTuning::block) {
  recipe.fine_tuning = tuning;
  recipe.end_to_end_learning_rate = 3e-3;
  recipe.fine_tune_epochs = 2;
  recipe.fine_tune_batch = 2;
  recipe.learning_rate = 3e-3;
  return recipe;
}

// The tiny model of the engine's tests: 32 inputs, 24 to 56 outputs, heads of 12.
class Additive : public ::testing::TestWithParam<QuantizeSpec> {
 protected:
  void SetUp() override { test::write_model(model_.path(), test::tiny_config(), test::tiny_model(3)); }
  QuantizeOrder order(const QuantizeSpec& recipe, const ScratchDirectory& scratch) const {
    return order_of(model_.path(), recipe, scratch);
  }
  std::unique_ptr<Store> quantize(const QuantizeSpec& recipe, std::uint32_t ranks, const std::string& isa = "",
                                  int threads = 1) const {
    const ScratchDirectory scratch;
    auto store = std::make_unique<Store>();
    run_gang(ranks, order(recipe, scratch), tiny_windows(), *store, isa, threads);
    return store;
  }
  test::TemporaryDirectory model_;
};

TEST_P(Additive, GivesTheSameRecordsForAnyNumberOfRanksAndThreadsAndInstructionSets) {
  const auto alone = quantize(GetParam(), 1);
  ASSERT_EQ(alone->blocks.size(), 2u);
  const std::string expected = fingerprint(*alone);
  // Two ranks are below.
  for (const std::uint32_t ranks : {3u, 7u}) EXPECT_EQ(fingerprint(*quantize(GetParam(), ranks)), expected) << ranks << " ranks";
  for (const std::string_view isa : kernels::runnable_isas()) {
    EXPECT_EQ(fingerprint(*quantize(GetParam(), 2, std::string(isa), 3)), expected) << isa;
  }
  EXPECT_EQ(fingerprint(*quantize(GetParam(), 2, "emulated")), expected);
  for (const BlockDone& block : alone->blocks) {
    for (const LinearLoss& loss : block.losses) EXPECT_LT(loss.relative_loss, 0.5) << loss.tensor;
    for (const TensorRecord& tensor : block.tensors) EXPECT_NO_THROW(check_tensor_record(tensor)) << tensor.name;
  }
}

TEST_P(Additive, ThePackedModelHasTheBitsOfItsDequantizedWeights) {
  const auto store = quantize(GetParam(), 2);
  std::vector<TensorRecord> records = store->outer->tensors;
  for (const BlockDone& block : store->blocks) records.insert(records.end(), block.tensors.begin(), block.tensors.end());
  const ModelConfig config = parse_model_config(test::tiny_config(), "tiny");
  const auto packed = open_tensor_records(config, records, [&](const ChunkRef& chunk) { return store->chunks.at(chunk.digest); });
  test::TestModel model = test::read_model(*packed);
  test::TemporaryDirectory directory;
  test::write_model(directory.path(), test::tiny_config(), model);
  const auto dense = open_model_directory(directory.path());
  const std::vector<std::int32_t> tokens = {3, 14, 15, 42, 35, 9, 26, 1, 0, 49, 17};
  for (const std::string_view isa : kernels::runnable_isas()) {
    const auto backend = test::backend_of(isa, 2);
    Transformer from_packed(*backend, *packed), from_dense(*backend, *dense);
    EXPECT_EQ(test::prefill_logits(from_packed, tokens), test::prefill_logits(from_dense, tokens)) << isa;
    EXPECT_EQ(test::greedy(from_packed, tokens, 12), test::greedy(from_dense, tokens, 12)) << isa;
  }
}

TEST_P(Additive, GoesOnAfterADeathOnOtherRanks) {
  const std::string whole = fingerprint(*quantize(GetParam(), 2));
  const ScratchDirectory scratch;
  QuantizeOrder order = this->order(GetParam(), scratch);
  Store store;
  store.die_at_block = 1;
  EXPECT_THROW(run_gang(2, order, tiny_windows(), store), Error);
  ASSERT_EQ(store.blocks.size(), 1u);
  store.die_at_block.reset();
  std::filesystem::remove_all(scratch / "hidden");
  order.first_block = 1;
  order.outer_committed = true;
  order.committed = store.blocks[0].tensors;
  run_gang(3, order, tiny_windows(), store);
  EXPECT_EQ(fingerprint(store), whole);
  // Tuned end to end, nothing was committed before all was tuned, so that all blocks were held.
  EXPECT_EQ(store.done->replayed_blocks, GetParam().fine_tuning == FineTuning::end_to_end ? 0u : 1u);
}

// A gang that dies inside a block's fine-tuning goes on after the last epoch, on other ranks; with another job's state, or one
// that is torn, it begins again. The bytes are those of a run that nothing interrupted.
TEST(FineTuning, GoesOnInsideABlockOnOtherRanks) {
  const test::TemporaryDirectory model;
  test::write_model(model.path(), test::tiny_config(), test::tiny_model(3));
  QuantizeSpec recipe = tuned(aqlm(2, 4));
  recipe.fine_tune_epochs = recipe.patience = 4;
  const auto order = [&](const ScratchDirectory& scratch) { return order_of(model.path(), recipe, scratch); };
  const ScratchDirectory undisturbed;
  Store reference;
  run_gang(2, order(undisturbed), tiny_windows(), reference);
  ASSERT_EQ(reference.blocks.size(), 2u);
  const auto tuning_files = [](const ScratchDirectory& scratch) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(scratch / "hidden"))
      if (entry.path().filename().string().starts_with("tuning-")) files.push_back(entry.path());
    return files;
  };
  EXPECT_TRUE(tuning_files(undisturbed).empty()) << "nothing is left of committed blocks";
  enum class File { whole, torn, foreign };
  for (const File file : {File::whole, File::torn, File::foreign}) {
    const ScratchDirectory scratch;
    Store store;
    store.die_at_step = "1: fine-tuning, epoch 3";
    EXPECT_THROW(run_gang(2, order(scratch), tiny_windows(), store), Error);
    ASSERT_EQ(store.blocks.size(), 1u);
    store.die_at_step.clear();
    store.steps.clear();
    store.lines.clear();
    ASSERT_EQ(tuning_files(scratch).size(), 1u);
    if (file == File::torn) std::filesystem::resize_file(tuning_files(scratch)[0], std::filesystem::file_size(tuning_files(scratch)[0]) - 1);
    QuantizeOrder next = order(scratch);
    if (file == File::foreign) {
      const auto from = tuning_files(scratch)[0];
      next.job_id = sha256("another job");
      const auto to = scratch / "hidden" / next.job_id.short_hex() / "artifact-0";
      std::filesystem::create_directories(to);
      std::filesystem::rename(from, to / from.filename());
    }
    next.first_block = 1;
    next.outer_committed = true;
    next.committed = store.blocks[0].tensors;
    run_gang(3, next, tiny_windows(), store);
    EXPECT_EQ(fingerprint(store), fingerprint(reference)) << static_cast<int>(file);
    EXPECT_EQ(std::count(store.lines.begin(), store.lines.end(), "block fine-tuning: went on after epoch 3 of before the interruption"),
              file == File::whole ? 1 : 0);
    const auto epochs = std::count_if(store.steps.begin(), store.steps.end(),
                                      [](const std::string& step) { return step.starts_with("1: fine-tuning"); });
    EXPECT_EQ(epochs, file == File::whole ? 1 : 4) << static_cast<int>(file);
  }
}

// The same inside the tuning of the whole model, behind all blocks, and between two of their commits.
TEST(FineTuning, GoesOnInsideTheTuningOfTheWholeModel) {
  const test::TemporaryDirectory model;
  test::write_model(model.path(), test::tiny_config(), test::tiny_model(3));
  QuantizeSpec recipe = tuned(aqlm(2, 4), FineTuning::end_to_end);
  recipe.fine_tune_epochs = recipe.patience = 4;
  const CalibrationSet text = windows(48, 20, 31, 50);  // enough for the validation to gain
  const auto divergences = [](const Store& store) {
    double before = 0, after = 0;
    for (const std::string& line : store.lines)
      std::sscanf(line.c_str(), "fine-tuning end to end: validation divergence %lf -> %lf", &before, &after);
    return std::pair(before, after);
  };
  const ScratchDirectory undisturbed;
  Store reference;
  run_gang(2, order_of(model.path(), recipe, undisturbed), text, reference);
  const auto [before, after] = divergences(reference);
  EXPECT_GT(before, 0);
  EXPECT_LT(after, 0.99 * before);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(undisturbed / "hidden"))
    EXPECT_TRUE(entry.is_directory() || entry.path().filename().string().starts_with("sequence-")) << entry.path();
  struct Death {
    const char* step;
    std::size_t committed, epochs_left;
    bool chunks_lost = false;  // with the coordinator, which had not committed them
  };
  for (const Death& death : {Death{"1: fine-tuning, epoch 2", 0, 4}, Death{"1: end to end, epoch 3", 0, 1}, Death{"1: end to end, epoch 3", 0, 1, true}, Death{"", 1, 0}}) {
    const ScratchDirectory scratch;
    QuantizeOrder order = order_of(model.path(), recipe, scratch);
    Store store;
    store.die_at_step = death.step;
    if (death.committed > 0) store.die_at_block = static_cast<std::uint32_t>(death.committed);
    EXPECT_THROW(run_gang(2, order, text, store), Error);
    ASSERT_EQ(store.blocks.size(), death.committed) << death.step;
    store.die_at_step.clear();
    store.die_at_block.reset();
    store.steps.clear();
    if (death.chunks_lost) store.chunks.clear();
    order.outer_committed = true;
    order.first_block = static_cast<std::uint32_t>(death.committed);
    for (const BlockDone& block : store.blocks) order.committed.insert(order.committed.end(), block.tensors.begin(), block.tensors.end());
    run_gang(3, order, text, store);
    EXPECT_EQ(fingerprint(store), fingerprint(reference)) << death.step;
    EXPECT_EQ(static_cast<std::size_t>(std::count_if(store.steps.begin(), store.steps.end(),
                                                     [](const std::string& step) { return step.starts_with("1: end to end, epoch"); })),
              death.epochs_left)
        << death.step;
  }
}

INSTANTIATE_TEST_SUITE_P(Codebooks, Additive,
                         ::testing::Values(aqlm(1, 6), aqlm(3, 3), tuned(aqlm(2, 4)), tuned(aqlm(1, 5), FineTuning::end_to_end)),
                         [](const auto& test) { return "C" + std::to_string(test.param.codebooks) + "x" + std::to_string(test.param.codebook_bits); });

// One linear with inputs that share directions.
struct Layer {
  std::int64_t rows, cols;
  std::vector<float> weights, inputs;
  std::int64_t tokens = 300;
};
Layer correlated_layer(std::int64_t rows, std::int64_t cols) {
  Layer layer{rows, cols, {}, {}};
  std::mt19937 random(9);
  std::normal_distribution<float> normal;
  for (std::int64_t i = 0; i < rows * cols; ++i) layer.weights.push_back(0.02f * normal(random));
  for (std::int64_t t = 0; t < layer.tokens; ++t) {
    float previous = 0;
    for (std::int64_t k = 0; k < cols; ++k) layer.inputs.push_back(previous = 0.8f * previous + normal(random));
  }
  return layer;
}

enum class Starts { all, first, last, reversed };

AdditiveSolution solve(const Layer& layer, const QuantizeSpec& recipe, double* relative_loss = nullptr,
                       Starts which = Starts::all) {
  const auto backend = kernels::make_cpu_backend({2, ""});
  const auto gang = cluster::make_local_collective();
  const kernels::ConstMatrixView sequence(layer.inputs.data(), layer.tokens, layer.cols);
  const Hessian hessian = sum_hessian(*backend, *gang, std::span(&sequence, 1), layer.cols, layer.tokens, false, "layer");
  std::vector<Factor> factors = factor_for_starts(*backend, *gang, hessian, "layer");
  if (which == Starts::reversed) std::reverse(factors.begin(), factors.end());
  std::span<const Factor> starts = factors;
  if (which == Starts::first) starts = starts.first(1);
  if (which == Starts::last) starts = starts.last(1);
  const kernels::ConstMatrixView weights(layer.weights.data(), layer.rows, layer.cols);
  const LinearRows rows{layer.rows, layer.cols,
                        [&](std::int64_t row, float* out) { std::copy_n(weights.row(row), layer.cols, out); }};
  AdditiveSolution solution = solve_additive(*backend, *gang, recipe, weights, rows, hessian, starts, "layer");
  if (relative_loss != nullptr)
    *relative_loss = std::accumulate(solution.losses.begin(), solution.losses.end(), 0.0) /
                     std::accumulate(solution.energies.begin(), solution.energies.end(), 0.0);
  return solution;
}

TEST(AdditiveSolver, MoreBitsLoseLessAndTheReportedLossIsThatOfTheChunks) {
  const Layer layer = correlated_layer(96, 64);
  double previous = std::numeric_limits<double>::infinity();
  for (const auto& [codebooks, bits] : {std::pair{1u, 4u}, {1u, 8u}, {2u, 8u}, {3u, 8u}}) {
    double reported = 0;
    const AdditiveSolution solution = solve(layer, aqlm(codebooks, bits), &reported);
    EXPECT_LT(reported, 0.6 * previous) << codebooks << "x" << bits;
    previous = reported;
    Linear linear = Linear::additive(layer.rows, layer.cols, solution.shape, 96, solution.codebook_chunk());
    linear.set_tile(0, solution.tile_chunk(0, layer.rows));
    const std::vector<float> solved = linear.dequantized();
    double loss = 0, energy = 0;
    for (std::int64_t t = 0; t < layer.tokens; ++t)
      for (std::int64_t r = 0; r < layer.rows; ++r) {
        double difference = 0, whole = 0;
        for (std::int64_t k = 0; k < layer.cols; ++k) {
          const double x = layer.inputs[static_cast<std::size_t>(t * layer.cols + k)], w = layer.weights[static_cast<std::size_t>(r * layer.cols + k)];
          difference += x * (w - solved[static_cast<std::size_t>(r * layer.cols + k)]);
          whole += x * w;
        }
        loss += difference * difference;
        energy += whole * whole;
      }
    // The solver's H has a ten-thousandth of its mean diagonal added.
    EXPECT_NEAR(reported, loss / energy, 0.05 * loss / energy);
  }
}

TEST(AdditiveSolver, GoesOnFromTheBetterStartWhereverItIs) {
  const Layer layer = correlated_layer(96, 64);
  double losses[2];
  const AdditiveSolution alone[2] = {solve(layer, aqlm(2, 6), &losses[0], Starts::first), solve(layer, aqlm(2, 6), &losses[1], Starts::last)};
  ASSERT_NE(losses[0], losses[1]);
  const AdditiveSolution& better = alone[losses[1] < losses[0] ? 1 : 0];
  EXPECT_EQ(solve(layer, aqlm(2, 6)).codes, better.codes) << losses[0] << " " << losses[1];
  EXPECT_EQ(solve(layer, aqlm(2, 6), nullptr, Starts::reversed).codes, better.codes) << losses[0] << " " << losses[1];
}

TEST(AdditiveSolver, ZerosAndInputsThatNeverCameAreSolved) {
  Layer layer = correlated_layer(40, 32);
  for (std::int64_t k = 0; k < 32; ++k) layer.weights[static_cast<std::size_t>(7 * 32 + k)] = 0;  // a row of zeros
  for (std::int64_t t = 0; t < layer.tokens; ++t)
    for (std::int64_t k = 8; k < 16; ++k) layer.inputs[static_cast<std::size_t>(t * 32 + k)] = 0;  // a dead group
  double loss = 0;
  const AdditiveSolution solution = solve(layer, aqlm(2, 6), &loss);
  EXPECT_LT(loss, 0.1);
  EXPECT_EQ(solution.scales[7], 0);
  for (const float value : solution.entries) EXPECT_TRUE(std::isfinite(value));
  std::fill(layer.inputs.begin(), layer.inputs.end(), 0.0f);
  EXPECT_NO_THROW(solve(layer, aqlm(1, 4)));
  std::fill(layer.weights.begin(), layer.weights.end(), 0.0f);
  for (const std::uint16_t scale : solve(correlated_layer(16, 8), aqlm(1, 2)).scales) EXPECT_NE(scale & 0x7c00, 0x7c00);
  EXPECT_NO_THROW(solve(layer, aqlm(1, 4)));
}

TEST(AdditiveSolver, SaysWhatCannotBe) {
  const auto told = [](const QuantizeSpec& recipe, std::int64_t rows, std::int64_t cols, const std::string& words) {
    try {
      check_additive(recipe, rows, cols, "model.layers.0.mlp.down_proj.weight");
      ADD_FAILURE() << "accepted: " << words;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input);
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("down_proj"), std::string::npos) << error.what();
    }
  };
  told(aqlm(1, 8), 64, 172, "172 inputs, which groups of 8 do not divide");
  told(aqlm(1, 17), 64, 64, "codes of 17 bits");
  told(aqlm(9, 8), 64, 64, "9 codebooks");
  told(aqlm(1, 10), 64, 64, "1024 codebook entries (10 bits) but only 512 groups");
  QuantizeSpec wide = aqlm(1, 4);
  wide.group_size = 12;
  told(wide, 64, 48, "groups of 12 inputs; expected 8 or 16");
  EXPECT_NO_THROW(check_additive(aqlm(1, 9), 64, 64, "fits"));
}

// Sums of wildly different numbers do not move with how they are shared out.
TEST(ExactTotals, DoNotDependOnTheRanks) {
  std::vector<double> all;
  std::mt19937_64 random(4);
  for (int i = 0; i < 1000; ++i)
    all.push_back(std::ldexp(static_cast<double>(random() % 1000003), static_cast<int>(random() % 40) - 20));
  double expected = 0;
  for (const std::uint32_t ranks : {1u, 2u, 3u, 5u}) {
    std::vector<double> found(ranks);
    cluster::run_thread_gang(ranks, {}, [&](cluster::Collective& gang) {
      std::vector<double> own;
      for (std::size_t i = gang.rank(); i < all.size(); i += ranks) own.push_back(all[i]);
      found[gang.rank()] = exact_total(gang, own, "test");
    });
    if (ranks == 1) expected = found[0];
    for (const double total : found) EXPECT_EQ(total, expected);
  }
  EXPECT_NEAR(expected, std::accumulate(all.begin(), all.end(), 0.0), 1e-3 * expected);
}

}  // namespace
}  // namespace quench::worker
