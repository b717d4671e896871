// AWQ by a gang: the same records for any number of ranks, threads and instruction sets, after a death too; scales that
// change no function; and losses that are the outputs' squared error and no larger than those of rounding to nearest.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "cluster/collective/local.h"
#include "tests/support/processes.h"
#include "tests/worker/model/model_fixtures.h"
#include "tests/worker/quantize/gang_fixture.h"
#include "worker/quantize/awq/scale_search.h"
#include "worker/quantize/methods.h"

namespace quench::worker {
namespace {

using kernels::ConstMatrixView;
using kernels::MatrixView;
using testing::ScratchDirectory;

QuantizeSpec awq(std::uint32_t bits, std::int32_t group_size) {
  QuantizeSpec recipe;
  recipe.method = Method::awq;
  recipe.bits = bits;
  recipe.group_size = group_size;
  return with_fixed_settings(recipe);
}

// The tiny model of the engine's tests, of grouped heads or with keys and values for every head: 32 to 56 inputs.
enum class Heads { grouped, own };
void write_tiny(const std::filesystem::path& directory, Heads heads) {
  test::TestModel model = test::tiny_model(3);
  std::string config = test::tiny_config();
  if (heads == Heads::own) {
    const std::string grouped = "\"num_key_value_heads\": 2";
    config.replace(config.find(grouped), grouped.size(), "\"num_key_value_heads\": 4");
    for (auto& [name, tensor] : model) {
      if (name.find("k_proj") == std::string::npos && name.find("v_proj") == std::string::npos) continue;
      tensor.shape[0] *= 2;
      const std::vector<std::uint8_t> half = tensor.bytes;
      tensor.bytes.resize(2 * half.size());
      for (std::size_t i = 0; i < half.size(); i += 4)  // the new rows have the values in another order
        std::memcpy(&tensor.bytes[half.size() + i], &half[(i * 7 + 20) % half.size() / 4 * 4], 4);
    }
  }
  test::write_model(directory, config, model);
}

struct Setting {
  QuantizeSpec recipe;
  Heads heads;
};

class Scaled : public ::testing::TestWithParam<Setting> {
 protected:
  void SetUp() override { write_tiny(model_.path(), GetParam().heads); }
  QuantizeOrder order(const ScratchDirectory& scratch) const { return order_of(model_.path(), GetParam().recipe, scratch); }
  std::unique_ptr<Store> quantize(std::uint32_t ranks, const std::string& isa = "", int threads = 1) const {
    const ScratchDirectory scratch;
    auto store = std::make_unique<Store>();
    run_gang(ranks, order(scratch), tiny_windows(), *store, isa, threads);
    return store;
  }
  test::TemporaryDirectory model_;
};

TEST_P(Scaled, GivesTheSameRecordsForAnyNumberOfRanksAndThreadsAndInstructionSets) {
  const auto alone = quantize(1);
  ASSERT_EQ(alone->blocks.size(), 2u);
  const std::string expected = fingerprint(*alone);
  for (const std::uint32_t ranks : {2u, 3u, 4u, 7u}) EXPECT_EQ(fingerprint(*quantize(ranks)), expected) << ranks << " ranks";
  for (const std::string_view isa : kernels::runnable_isas())
    EXPECT_EQ(fingerprint(*quantize(2, std::string(isa), 3)), expected) << isa;
  EXPECT_EQ(fingerprint(*quantize(2, "emulated")), expected);
  for (const BlockDone& block : alone->blocks) {
    ASSERT_EQ(block.losses.size(), 7u);
    for (const LinearLoss& loss : block.losses) {
      EXPECT_GT(loss.relative_loss, 0.0) << loss.tensor;
      EXPECT_LT(loss.relative_loss, 0.1) << loss.tensor;
    }
    for (const TensorRecord& tensor : block.tensors) EXPECT_NO_THROW(check_tensor_record(tensor)) << tensor.name;
  }
}

// On random weights, which have no channels of large activations, scales gain little, and errors of 4 bits in logits are
// mostly chance: norms that did not belong to their linears would be off by ten times as much.
TEST_P(Scaled, TheModelOfTheRecordsIsAsNearToTheSourceAsRoundedWeights) {
  const auto source = open_model_directory(model_.path());
  const auto backend = test::backend_of("", 1);
  Transformer original(*backend, *source);
  const auto error_of = [&](const QuantizeSpec& recipe) {
    const ScratchDirectory scratch;
    QuantizeOrder order = this->order(scratch);
    order.job.quantize = {recipe};
    Store store;
    run_gang(2, order, tiny_windows(), store);
    std::vector<TensorRecord> records = store.outer->tensors;
    for (const BlockDone& block : store.blocks) records.insert(records.end(), block.tensors.begin(), block.tensors.end());
    const auto packed =
        open_tensor_records(source->config(), records, [&](const ChunkRef& chunk) { return store.chunks.at(chunk.digest); });
    const std::string norm = "model.layers.0.input_layernorm.weight";
    EXPECT_EQ(read_tensor(*packed, norm) != read_tensor(*source, norm), recipe.method == Method::awq);
    Transformer quantized(*backend, *packed);
    double error = 0;
    for (const std::vector<std::int32_t>& tokens : tiny_windows().sequences) {
      const std::vector<float> got = test::prefill_logits(quantized, tokens), want = test::prefill_logits(original, tokens);
      for (std::size_t i = 0; i < want.size(); ++i) error += std::pow(double{got[i]} - want[i], 2);
    }
    return error;
  };
  QuantizeSpec rounded = GetParam().recipe;
  rounded.method = Method::rtn;
  const double scaled_error = error_of(GetParam().recipe), rounded_error = error_of(rounded);
  EXPECT_LT(scaled_error, 1.5 * rounded_error);
}

TEST_P(Scaled, GoesOnAfterADeathOnOtherRanks) {
  const std::string whole = fingerprint(*quantize(2));
  const ScratchDirectory scratch;
  QuantizeOrder order = this->order(scratch);
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
  EXPECT_EQ(store.done->replayed_blocks, 1u);
}

INSTANTIATE_TEST_SUITE_P(Recipes, Scaled,
                         ::testing::Values(Setting{awq(4, 8), Heads::grouped}, Setting{awq(4, -1), Heads::own},
                                           Setting{awq(8, 4), Heads::own}),
                         [](const auto& test) { return "N" + std::to_string(test.index); });

TEST(ScaledBlock, RefusesGroupsThatDoNotDivide) {
  const test::TemporaryDirectory model;
  write_tiny(model.path(), Heads::grouped);
  const ScratchDirectory scratch;
  QuantizeOrder order;
  order.job.model = model.path();
  order.job.baseline = false;
  order.job.quantize = {awq(4, 16)};
  order.scratch_dir = scratch / "hidden";
  Store store;
  try {
    run_gang(1, order, tiny_windows(), store);
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_NE(std::string(error.what()).find("down_proj.weight\" has 56 inputs, which groups of 16"), std::string::npos)
        << error.what();
  }
  EXPECT_TRUE(store.blocks.empty());
}

TEST(ScaledBlock, FoldedScalesAreTheSameFunction) {
  const test::TemporaryDirectory model;
  write_tiny(model.path(), Heads::own);
  const auto source = open_model_directory(model.path());
  const auto backend = test::backend_of("", 1);
  Block original = load_block(*source, 0);
  BlockScales scales;
  std::mt19937 random(4);
  std::uniform_real_distribution<float> logs(-2.0f, 2.0f);
  const std::array<std::size_t, 4> widths{32, 48, 32, 56};
  for (std::size_t stage = 0; stage < widths.size(); ++stage)
    for (std::size_t i = 0; i < widths[stage]; ++i) scales.stages[stage].push_back(std::exp(logs(random)));
  Block folded;
  folded.attention_norm = original.attention_norm;
  folded.mlp_norm = original.mlp_norm;
  scales.fold_into_vector({.part = BlockVector::attention_norm}, folded.attention_norm);
  scales.fold_into_vector({.part = BlockVector::mlp_norm}, folded.mlp_norm);
  for (std::size_t i = 0; i < kBlockLinears; ++i) {
    const std::int64_t outputs = original.linears[i].outputs(), inputs = original.linears[i].inputs();
    std::vector<float> weights = original.linears[i].dequantized();
    const std::vector<float> before = weights;
    // As the ranks do it: tile by tile.
    scales.fold_into_rows(i, 0, MatrixView(weights.data(), 16, inputs));
    scales.fold_into_rows(i, 16, MatrixView(weights.data() + 16 * inputs, outputs - 16, inputs));
    EXPECT_NE(weights, before);
    folded.linears[i] = Linear::dense(weights, outputs, inputs);
  }
  const kernels::RopeTable rope = kernels::rope_table(12, 10000.0, 1.0, 20);
  const BlockContext context{*backend, source->config(), rope};
  std::normal_distribution<float> normal;
  std::vector<float> want(20 * 32);
  for (float& value : want) value = normal(random);
  std::vector<float> got = want;
  const std::vector<std::int64_t> lengths{20};
  BlockForward(context, original, lengths, MatrixView(want.data(), 20, 32)).finish();
  BlockForward(context, folded, lengths, MatrixView(got.data(), 20, 32)).finish();
  float largest = 0;
  for (const float value : want) largest = std::max(largest, std::fabs(value));
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 2e-6f * largest) << i;
}

// One stage: inputs of which a few channels are large, as in language models.
struct Stage {
  std::int64_t rows = 40, columns = 64, tokens = 240;
  std::vector<float> weights, inputs;
  Stage() {
    std::mt19937 random(9);
    std::normal_distribution<float> normal;
    for (std::int64_t i = 0; i < rows * columns; ++i) weights.push_back(0.05f * normal(random));
    for (std::int64_t t = 0; t < tokens; ++t) {
      const float shared = normal(random);
      for (std::int64_t c = 0; c < columns; ++c) {
        const float size = c == 7 ? 0.0f : c % 16 == 3 ? 25.0f : 0.3f + 0.02f * static_cast<float>(c);
        inputs.push_back(size * (normal(random) + 0.5f * shared));
      }
    }
  }
  ConstMatrixView view() const { return {weights.data(), rows, columns}; }
  // Mean over the tokens of the squared error of row `row`'s output.
  double output_error(std::int64_t row, const float* other) const {
    double sum = 0;
    for (std::int64_t t = 0; t < tokens; ++t) {
      double error = 0;
      for (std::int64_t c = 0; c < columns; ++c) {
        const auto at = static_cast<std::size_t>(c);
        error += (double{weights[static_cast<std::size_t>(row * columns) + at]} - other[c]) *
                 inputs[static_cast<std::size_t>(t * columns) + at];
      }
      sum += error * error;
    }
    return sum / static_cast<double>(tokens);
  }
};

struct Searched {
  std::vector<double> magnitudes;
  ScaleChoice choice;
};
// Every rank has every third token and every third row of three, and so on.
Searched search(const Stage& stage, const QuantizeSpec& recipe, std::uint32_t ranks) {
  Searched result;
  cluster::run_thread_gang(ranks, {}, [&](cluster::Collective& gang) {
    const auto backend = kernels::make_cpu_backend({1, ""});
    std::vector<float> tokens, rows;
    const auto take = [&](const std::vector<float>& from, std::int64_t count, std::vector<float>& to) {
      for (std::int64_t i = gang.rank(); i < count; i += gang.world())
        to.insert(to.end(), from.begin() + i * stage.columns, from.begin() + (i + 1) * stage.columns);
      return ConstMatrixView(to.data(), static_cast<std::int64_t>(to.size()) / stage.columns, stage.columns);
    };
    const ConstMatrixView inputs = take(stage.inputs, stage.tokens, tokens);
    std::vector<ConstMatrixView> sequences;
    for (std::int64_t row = 0; row < inputs.rows; ++row) sequences.push_back(inputs.row_range(row, 1));
    const Hessian hessian = sum_hessian(*backend, gang, sequences, stage.columns, stage.tokens, false, "test");
    const std::vector<double> magnitudes = mean_magnitudes(*backend, gang, inputs, stage.tokens, "test");
    const SampledRows sampled{take(stage.weights, stage.rows, rows), 1.0};
    const ScaleChoice choice = search_scales(*backend, gang, recipe, std::span(&sampled, 1), hessian, magnitudes, "test");
    if (gang.rank() == 0) result = {magnitudes, choice};
  });
  return result;
}

TEST(ScaleSearch, IsTheSameForAnyNumberOfRanks) {
  const Stage stage;
  const Searched alone = search(stage, awq(4, 16), 1);
  for (const std::uint32_t ranks : {2u, 3u, 5u}) {
    const Searched shared = search(stage, awq(4, 16), ranks);
    EXPECT_EQ(shared.magnitudes, alone.magnitudes) << ranks;
    EXPECT_EQ(shared.choice.scales, alone.choice.scales) << ranks;
    EXPECT_EQ(shared.choice.loss, alone.choice.loss) << ranks;
  }
  for (std::int64_t c = 0; c < stage.columns; ++c) {
    double mean = 0;
    for (std::int64_t t = 0; t < stage.tokens; ++t) mean += std::fabs(stage.inputs[static_cast<std::size_t>(t * stage.columns + c)]);
    mean /= static_cast<double>(stage.tokens);
    EXPECT_NEAR(alone.magnitudes[static_cast<std::size_t>(c)], mean, 1e-9 * mean);
  }
}

TEST(ScaleSearch, LosesLessThanRoundingToNearestAndClippingLessStill) {
  const Stage stage;
  const auto backend = kernels::make_cpu_backend({1, ""});
  const auto alone = cluster::make_local_collective();
  const ConstMatrixView inputs(stage.inputs.data(), stage.tokens, stage.columns);
  const Hessian hessian = sum_hessian(*backend, *alone, std::span(&inputs, 1), stage.columns, stage.tokens, false, "test");
  for (const std::int32_t group_size : {16, 32, -1})
    for (const std::uint32_t bits : {3u, 4u, 8u}) {
      const QuantizeSpec recipe = awq(bits, group_size);
      const ScaleChoice choice = search(stage, recipe, 1).choice;
      EXPECT_GT(choice.ratio, 0.0);
      EXPECT_EQ(choice.scales[7], 1.0f);  // never anything in it
      EXPECT_LT(choice.loss, 0.9 * choice.unscaled) << bits << " bits, groups of " << group_size;

      BlockScales scales;
      scales.stages[3] = choice.scales;
      std::vector<float> rows = stage.weights;
      const MatrixView view(rows.data(), stage.rows, stage.columns);
      scales.fold_into_rows(kDown, 0, view);
      const std::vector<float> unclipped = rows;
      const RowLosses losses = clip_ranges(*backend, recipe, hessian, choice.scales, view);
      const auto outputs_of = [&](const std::vector<float>& scaled, bool compare) {
        std::vector<float> rounded(scaled.size());
        solve_tile(*backend, recipe, ConstMatrixView(scaled.data(), stage.rows, stage.columns), nullptr, nullptr, rounded);
        double total = 0;
        for (std::int64_t row = 0; row < stage.rows; ++row) {
          float* values = rounded.data() + row * stage.columns;
          for (std::int64_t c = 0; c < stage.columns; ++c) values[c] /= choice.scales[static_cast<std::size_t>(c)];
          const double error = stage.output_error(row, values);
          if (compare) {
            EXPECT_NEAR(losses.losses[static_cast<std::size_t>(row)], error, 1e-3 * error) << row;
          }
          total += error;
        }
        return total;
      };
      const double before = outputs_of(unclipped, false), after = outputs_of(rows, true);
      EXPECT_NEAR(before, choice.loss, 1e-3 * before);
      EXPECT_LE(after, before * (1 + 1e-6));
      if (bits == 3) {
        EXPECT_LT(after, 0.98 * before) << "groups of " << group_size;
      }
    }
}

TEST(ScaleSearch, KeepsScalesOfOneWhereNothingIsKnown) {
  Stage stage;
  std::fill(stage.inputs.begin(), stage.inputs.end(), 0.0f);
  const ScaleChoice choice = search(stage, awq(4, 16), 2).choice;
  EXPECT_EQ(choice.ratio, 0.0);
  EXPECT_EQ(choice.loss, 0.0);
  EXPECT_EQ(choice.scales, std::vector<float>(64, 1.0f));
}

}  // namespace
}  // namespace quench::worker
