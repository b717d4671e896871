// Every family of models through every method, and integer activations: the same records for any number of ranks, threads and
// instruction sets and after a death, and models that are as near to their source as their bits allow.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "tests/support/processes.h"
#include "tests/worker/model/model_fixtures.h"
#include "tests/worker/quantize/gang_fixture.h"

namespace quench::worker {
namespace {

using testing::ScratchDirectory;

struct Recipe {
  const char* name;
  QuantizeSpec spec;
  double error_max;  // relative, of all logits
};

QuantizeSpec recipe_of(Method method, std::uint32_t bits, Activations activations = Activations::none) {
  QuantizeSpec spec;
  spec.method = method;
  spec.bits = bits;
  spec.group_size = 8;
  spec.activations = activations;
  spec.codebooks = 4;
  spec.codebook_bits = 6;
  return with_fixed_settings(spec);
}

// On these models of 32 inputs errors are mostly chance: two to three times what was measured is allowed.
const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> all = {{"rtn", recipe_of(Method::rtn, 8), 0.05},
                                          {"gptq", recipe_of(Method::gptq, 8), 0.05},
                                          {"awq", recipe_of(Method::awq, 8), 0.05},
                                          {"aqlm", recipe_of(Method::aqlm, 8), 0.8},
                                          {"int8", recipe_of(Method::int8, 8), 0.05},
                                          {"int8Dynamic", recipe_of(Method::int8, 8, Activations::dynamic), 0.1},
                                          {"int8Static", recipe_of(Method::int8, 8, Activations::fixed), 0.15}};
  return all;
}

std::string own_heads(std::string config) {
  const std::string grouped = "\"num_key_value_heads\": 2";
  return config.replace(config.find(grouped), grouped.size(), "\"num_key_value_heads\": 4");
}

struct Case {
  const char* family;
  std::string config;
  Recipe recipe;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.family << " " << c.recipe.name; }

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& [family, config] : {std::pair("llama", test::tiny_config()), std::pair("qwen2", test::qwen2_config()),
                                       std::pair("qwen2OwnHeads", own_heads(test::qwen2_config())),
                                       std::pair("starcoder2", test::starcoder2_config())})
    for (const Recipe& recipe : recipes())
      if (recipe.spec.method != Method::aqlm || std::string_view(family) != "qwen2OwnHeads") all.push_back({family, config, recipe});
  return all;
}

class Families : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override { test::write_model(model_.path(), GetParam().config, test::random_model(GetParam().config, 11)); }
  std::unique_ptr<Store> quantize(std::uint32_t ranks, const std::string& isa = "", int threads = 1) const {
    const ScratchDirectory scratch;
    auto store = std::make_unique<Store>();
    run_gang(ranks, order_of(model_.path(), GetParam().recipe.spec, scratch), tiny_windows(), *store, isa, threads);
    return store;
  }
  test::TemporaryDirectory model_;
};

TEST_P(Families, GiveTheSameRecordsForAnyRanksThreadsAndInstructionSets) {
  const auto alone = quantize(1);
  const std::string expected = fingerprint(*alone);
  // Codebooks are the same work for every family, and same_bytes_test gives it all ranks and instruction sets.
  const bool is_long = GetParam().recipe.spec.method == Method::aqlm;
  for (const std::uint32_t ranks : is_long ? std::vector{2u} : std::vector{2u, 3u, 7u})
    EXPECT_EQ(fingerprint(*quantize(ranks)), expected) << ranks << " ranks";
  for (const std::string_view isa : is_long ? std::span<const std::string_view>() : kernels::runnable_isas())
    EXPECT_EQ(fingerprint(*quantize(2, std::string(isa), 3)), expected) << isa;
  for (const BlockDone& block : alone->blocks)
    for (const TensorRecord& tensor : block.tensors) EXPECT_NO_THROW(check_tensor_record(tensor)) << tensor.name;
}

// What the host must fetch and send for what a device has no kernels for would show here.
TEST_P(Families, GiveTheSameTensorsWithMemoryOfTheirOwn) {
  if (GetParam().recipe.spec.method == Method::aqlm) GTEST_SKIP() << "runs on the host";
  EXPECT_EQ(fingerprint(*quantize(2, "emulated"), Losses::left_out), fingerprint(*quantize(2), Losses::left_out));
}

TEST_P(Families, TheModelOfTheRecordsIsNearItsSource) {
  const auto source = open_model_directory(model_.path());
  const auto store = quantize(2);
  const auto packed = model_of(*store, source->config());
  const auto backend = test::backend_of("", 2);
  Transformer original(*backend, *source), quantized(*backend, *packed);
  double error = 0, energy = 0;
  for (const std::vector<std::int32_t>& tokens : tiny_windows().sequences) {
    const std::vector<float> got = test::prefill_logits(quantized, tokens), want = test::prefill_logits(original, tokens);
    for (std::size_t i = 0; i < want.size(); ++i) {
      error += std::pow(double{got[i]} - want[i], 2);
      energy += std::pow(double{want[i]}, 2);
    }
  }
  EXPECT_GT(error, 0);
  EXPECT_LT(std::sqrt(error / energy), GetParam().recipe.error_max);
}

// By prefill, token by token, together with another sequence, on every instruction set: the same bits.
TEST_P(Families, ATokensLogitsDoNotDependOnItsBatch) {
  const auto source = open_model_directory(model_.path());
  const auto store = quantize(1);
  const auto packed = model_of(*store, source->config());
  const std::vector<std::int32_t> tokens = tiny_windows().sequences[0], other = tiny_windows().sequences[1];
  std::vector<float> expected;
  for (const std::string_view isa : kernels::runnable_isas()) {
    const auto backend = test::backend_of(isa, 2);
    Transformer model(*backend, *packed);
    const std::vector<float> whole = test::prefill_logits(model, tokens);
    if (expected.empty()) expected = whole;
    EXPECT_EQ(whole, expected) << isa;
    const auto vocabulary = static_cast<std::int64_t>(model.config().vocab_size);
    SequenceCache cache(model.config(), 32), beside(model.config(), 32);
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      const SequenceStep steps[] = {{&beside, std::span(other).subspan(t, 1)}, {&cache, std::span(tokens).subspan(t, 1)}};
      const kernels::ConstMatrixView logits = model.forward(t % 3 == 0 ? std::span(steps) : std::span(steps).last(1));
      const float* row = logits.row(logits.rows - 1);
      EXPECT_TRUE(std::equal(row, row + vocabulary, whole.data() + static_cast<std::int64_t>(t) * vocabulary)) << isa << " token " << t;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Families, ::testing::ValuesIn(cases()), [](const auto& instance) {
  return std::string(instance.param.family) + "_" + instance.param.recipe.name;
});

TEST(StaticActivations, GoOnAfterADeathWithAndWithoutHiddenStates) {
  const test::TemporaryDirectory model;
  test::write_model(model.path(), test::qwen2_config(), test::random_model(test::qwen2_config(), 5));
  const QuantizeSpec recipe = recipe_of(Method::int8, 8, Activations::fixed);
  Store whole;
  const ScratchDirectory reference;
  run_gang(2, order_of(model.path(), recipe, reference), tiny_windows(), whole);
  for (const bool keep_states : {true, false}) {
    const ScratchDirectory scratch;
    QuantizeOrder order = order_of(model.path(), recipe, scratch);
    Store store;
    store.die_at_block = 1;
    EXPECT_THROW(run_gang(3, order, tiny_windows(), store), Error);
    store.die_at_block.reset();
    if (!keep_states) std::filesystem::remove_all(scratch / "hidden");
    order.first_block = 1;
    order.outer_committed = true;
    order.committed = store.blocks.at(0).tensors;
    run_gang(1, order, tiny_windows(), store);
    EXPECT_EQ(fingerprint(store), fingerprint(whole));
    EXPECT_EQ(store.done->replayed_blocks, keep_states ? 0u : 1u);
  }
}

// The scale is the largest input of the quantized prefix over 127: of the first stage, whose inputs no quantized linear has
// touched, that of the original block.
TEST(StaticActivations, TheScaleIsTheLargestInputOver127AndSharedByAStage) {
  const test::TemporaryDirectory model;
  test::write_model(model.path(), test::tiny_config(), test::tiny_model(6));
  const ScratchDirectory scratch;
  Store store;
  run_gang(2, order_of(model.path(), recipe_of(Method::int8, 8, Activations::fixed), scratch), tiny_windows(), store);
  const auto source = open_model_directory(model.path());
  const auto backend = test::backend_of("scalar", 1);
  const kernels::RopeTable rope = kernels::rope_table(12, 10000, 1, 20);
  const Block block = load_block(*source, 0);
  float largest = 0;
  for (const std::vector<std::int32_t>& tokens : tiny_windows().sequences) {
    std::vector<float> hidden(20 * 32);
    const kernels::MatrixView view(hidden.data(), 20, 32);
    embed_tokens(*source, tokens, view);
    attention_norm({*backend, source->config(), rope}, block, view, view);
    for (const float value : hidden) largest = std::max(largest, std::fabs(value));
  }
  const std::vector<TensorRecord>& tensors = store.blocks[0].tensors;
  ASSERT_EQ(tensors.size(), 9u);
  EXPECT_EQ(tensors[2].activation_scale, static_cast<double>(largest / 127.0f));
  for (const auto& [a, b] : {std::pair(2, 3), std::pair(3, 4), std::pair(6, 7)})
    EXPECT_EQ(tensors[static_cast<std::size_t>(a)].activation_scale, tensors[static_cast<std::size_t>(b)].activation_scale);
  EXPECT_NE(tensors[5].activation_scale, tensors[2].activation_scale);
}

TEST(FineTuning, OfAnotherFamilyIsRefusedBeforeAnythingIsCommitted) {
  const test::TemporaryDirectory model;
  test::write_model(model.path(), test::starcoder2_config(), test::random_model(test::starcoder2_config(), 5));
  QuantizeSpec recipe = recipe_of(Method::aqlm, 2);
  recipe.fine_tuning = FineTuning::block;
  const ScratchDirectory scratch;
  Store store;
  try {
    run_gang(1, order_of(model.path(), recipe, scratch), tiny_windows(), store);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_NE(std::string(error.what()).find("of the family starcoder2"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(store.outer);
}

}  // namespace
}  // namespace quench::worker
