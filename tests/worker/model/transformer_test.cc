// The whole engine: against transformers' fp32 references, and against itself (batches, caches, instruction
// sets, threads), where the bits have to be equal.
#include "worker/model/transformer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "schemas/error.h"
#include "tests/worker/model/model_fixtures.h"

namespace quench::worker::test {
namespace {

struct Witness {
  std::string name;
  std::string folder;
  std::string config;
  std::string reference;
};

void PrintTo(const Witness& witness, std::ostream* out) { *out << witness.name; }

const Witness kWitnesses[] = {
    {"stories260k", "stories260k", "config.json", "reference.safetensors"},
    {"odd", "odd_llama", "config.json", "reference.safetensors"},
    {"odd_transformers5", "odd_llama", "config_transformers5.json", "reference.safetensors"},
    {"odd_plain_rope", "odd_llama", "config_plain_rope.json", "reference_plain_rope.safetensors"},
    {"tiny_coder", "tiny_coder", "config.json", "reference.safetensors"},
};

// The fixture's directory with one of its configs as config.json.
class WitnessModel {
 public:
  explicit WitnessModel(const Witness& witness) : folder_(fixture(witness.folder)) {
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      if (entry.path().filename() != "config.json")
        std::filesystem::create_symlink(entry.path(), directory_.path() / entry.path().filename());
    std::filesystem::copy_file(folder_ / witness.config, directory_.path() / "config.json");
    reference = read_reference(folder_ / witness.reference);
    source = open_model_directory(directory_.path());
  }

  Reference reference;
  std::unique_ptr<WeightSource> source;

 private:
  std::filesystem::path folder_;
  TemporaryDirectory directory_;
};

class TransformerReference : public testing::TestWithParam<Witness> {};

TEST_P(TransformerReference, LogitsAreWithinOneThousandthAtAllPositions) {
  WitnessModel model(GetParam());
  const auto backend = backend_of("", 2);
  Transformer transformer(*backend, *model.source);
  const std::vector<float> logits = prefill_logits(transformer, model.reference.input_ids);
  ASSERT_EQ(logits.size(), model.reference.logits.size());
  ASSERT_EQ(transformer.config().vocab_size, model.reference.vocabulary);
  float worst = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    ASSERT_TRUE(std::isfinite(logits[i])) << i;
    worst = std::max(worst, std::abs(logits[i] - model.reference.logits[i]));
  }
  EXPECT_LT(worst, 1e-3f);
  RecordProperty("worst_logit_difference", std::to_string(worst));
}

TEST_P(TransformerReference, ChoosesTheSame256GreedyTokens) {
  WitnessModel model(GetParam());
  const auto backend = backend_of("", 2);
  Transformer transformer(*backend, *model.source);
  EXPECT_EQ(greedy(transformer, model.reference.input_ids, 256), model.reference.greedy_ids);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, TransformerReference, testing::ValuesIn(kWitnesses),
                         [](const auto& test) { return test.param.name; });

class TransformerBits : public testing::TestWithParam<std::string_view> {
 protected:
  TransformerBits()
      : model_(kWitnesses[1]), backend_(backend_of(GetParam())), transformer_(*backend_, *model_.source) {}

  std::vector<std::int32_t> tokens(std::size_t count, std::size_t from = 0) const {
    const auto begin = model_.reference.input_ids.begin() + static_cast<std::ptrdiff_t>(from);
    return {begin, begin + static_cast<std::ptrdiff_t>(count)};
  }
  std::vector<float> last_logits(const std::vector<std::int32_t>& prompt) {
    std::vector<float> all = prefill_logits(transformer_, prompt);
    return {all.end() - transformer_.config().vocab_size, all.end()};
  }

  WitnessModel model_;
  std::unique_ptr<kernels::Backend> backend_;
  Transformer transformer_;
};

std::vector<float> row_of(kernels::ConstMatrixView logits, std::int64_t row) {
  return {logits.row(row), logits.row(row) + logits.cols};
}

TEST_P(TransformerBits, DecodingGivesTheBitsOfPrefill) {
  const std::vector<std::int32_t> ids = tokens(37);
  const std::vector<float> prefill = prefill_logits(transformer_, ids);
  SequenceCache cache(transformer_.config(), 37, backend_->memory());
  std::vector<float> decoded;
  for (const std::int32_t& id : ids) {
    const SequenceStep step{&cache, {&id, 1}};
    const std::vector<float> row = row_of(transformer_.forward({&step, 1}), 0);
    decoded.insert(decoded.end(), row.begin(), row.end());
  }
  EXPECT_EQ(decoded, prefill);
}

TEST_P(TransformerBits, PrefillInPiecesGivesTheBitsOfOnePrefill) {
  const std::vector<std::int32_t> ids = tokens(40);
  SequenceCache cache(transformer_.config(), 40, backend_->memory());
  std::vector<float> pieces;
  for (const std::size_t end : {1u, 17u, 20u, 40u}) {
    const auto begin = static_cast<std::size_t>(cache.length());
    const SequenceStep step{&cache, std::span(ids).subspan(begin, end - begin)};
    const kernels::ConstMatrixView logits = transformer_.forward({&step, 1}, LogitRows::all);
    pieces.insert(pieces.end(), logits.data, logits.data + logits.rows * logits.cols);
  }
  EXPECT_EQ(pieces, prefill_logits(transformer_, ids));
}

// Prefill and decoding of sequences of different lengths, mixed in one batch.
TEST_P(TransformerBits, BatchGivesTheBitsOfEachSequenceAlone) {
  const std::vector<std::vector<std::int32_t>> prompts = {tokens(5), tokens(1, 7), tokens(33), tokens(16, 2)};
  std::vector<SequenceCache> caches;
  for (int i = 0; i < 4; ++i) caches.emplace_back(transformer_.config(), 48, backend_->memory());
  // The third has all but its last token behind it already.
  const SequenceStep before{&caches[2], std::span(prompts[2]).first(32)};
  transformer_.forward({&before, 1});
  const SequenceStep steps[] = {{&caches[0], prompts[0]},
                                {&caches[1], prompts[1]},
                                {&caches[2], std::span(prompts[2]).last(1)},
                                {&caches[3], prompts[3]}};
  std::vector<std::vector<float>> together;
  const kernels::ConstMatrixView logits = transformer_.forward(steps);
  for (std::int64_t i = 0; i < 4; ++i) together.push_back(row_of(logits, i));
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(together[i], last_logits(prompts[i])) << i;
}

TEST_P(TransformerBits, EqualThoseOfScalarOnOneThread) {
  const auto scalar = backend_of("scalar");
  Transformer reference(*scalar, *model_.source);
  const std::vector<std::int32_t> ids = tokens(24);
  const std::vector<float> expected = prefill_logits(reference, ids);
  EXPECT_EQ(prefill_logits(transformer_, ids), expected);
  const auto threads = backend_of(GetParam(), 3);
  Transformer threaded(*threads, *model_.source);
  EXPECT_EQ(prefill_logits(threaded, ids), expected);
}

INSTANTIATE_TEST_SUITE_P(Isa, TransformerBits,
                         testing::ValuesIn(kernels::runnable_isas().begin(), kernels::runnable_isas().end()),
                         [](const auto& test) { return std::string(test.param); });
// The GPU's kernels, with weights, caches and activations in memory of their own.
INSTANTIATE_TEST_SUITE_P(Device, TransformerBits, testing::Values(std::string_view("emulated")),
                         [](const auto& test) { return std::string(test.param); });

class TransformerInput : public testing::Test {
 protected:
  TransformerInput() : backend_(backend_of("")) {
    write_model(directory_.path(), tiny_config(), tiny_model(1));
    source_ = open_model_directory(directory_.path());
  }
  std::string error_of(Transformer& transformer, SequenceCache& cache,
                       const std::vector<std::int32_t>& tokens) {
    const SequenceStep step{&cache, tokens};
    try {
      transformer.forward({&step, 1});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input);
      return error.what();
    }
    return "no error";
  }

  TemporaryDirectory directory_;
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<WeightSource> source_;
};

TEST_F(TransformerInput, RefusesTokensOutsideTheVocabulary) {
  Transformer transformer(*backend_, *source_);
  SequenceCache cache(transformer.config(), 16);
  EXPECT_THAT(error_of(transformer, cache, {3, 50}),
              testing::HasSubstr("token 50 is outside the model's vocabulary of 50"));
  EXPECT_THAT(error_of(transformer, cache, {-1}), testing::HasSubstr("token -1"));
  EXPECT_EQ(cache.length(), 0);
}

TEST_F(TransformerInput, RefusesSequencesBeyondTheContext) {
  Transformer transformer(*backend_, *source_);
  EXPECT_EQ(transformer.positions_max(), 64);
  SequenceCache cache(transformer.config(), 100);
  EXPECT_THAT(error_of(transformer, cache, std::vector<std::int32_t>(65, 2)),
              testing::HasSubstr("65 tokens does not fit the context of 64"));
  EXPECT_EQ(error_of(transformer, cache, std::vector<std::int32_t>(64, 2)), "no error");
  Transformer short_context(*backend_, *source_, 20);
  cache.clear();
  EXPECT_THAT(error_of(short_context, cache, std::vector<std::int32_t>(21, 2)),
              testing::HasSubstr("context of 20"));
}

// A config may promise far more positions than memory could hold angles for.
TEST_F(TransformerInput, LoadsAModelThatPromisesAHugeContext) {
  std::string config = tiny_config();
  config.replace(config.find("\"max_position_embeddings\": 64"), 29,
                 "\"max_position_embeddings\": 268435456");
  write_model(directory_.path(), config, tiny_model(1));
  const auto huge = open_model_directory(directory_.path());
  Transformer transformer(*backend_, *huge);
  Transformer small(*backend_, *source_);
  EXPECT_EQ(transformer.positions_max(), 268435456);
  const std::vector<std::int32_t> tokens = {5, 6, 7};
  EXPECT_EQ(prefill_logits(transformer, tokens), prefill_logits(small, tokens));
  // Beyond the first table: what came before it grew stays as it was.
  const std::vector<std::int32_t> many(1500, 9);
  const std::vector<float> logits = prefill_logits(transformer, many);
  EXPECT_EQ(prefill_logits(transformer, tokens), prefill_logits(small, tokens));
  Transformer at_once(*backend_, *huge);
  EXPECT_EQ(prefill_logits(at_once, many), logits);
}

TEST_F(TransformerInput, EmbedsTokensAsTheTableHasThem) {
  const std::vector<std::int32_t> tokens = {7, 3, 7, 49, 0};
  std::vector<float> rows(tokens.size() * 32);
  embed_tokens(*source_, tokens, {rows.data(), 5, 32});
  const std::vector<float> table = read_tensor(*source_, "model.embed_tokens.weight");
  for (std::size_t i = 0; i < tokens.size(); ++i)
    for (std::size_t c = 0; c < 32; ++c)
      ASSERT_EQ(rows[i * 32 + c], table[static_cast<std::size_t>(tokens[i]) * 32 + c]) << i << " " << c;
  EXPECT_THROW(embed_tokens(*source_, std::vector<std::int32_t>{50}, {rows.data(), 1, 32}), Error);
}

}  // namespace
}  // namespace quench::worker::test
