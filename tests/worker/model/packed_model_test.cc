// Packed weights: through the entire model they give the bits of a dense model that holds their dequantized
// values; and what an artifact's records may not be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "schemas/error.h"
#include "tests/worker/model/model_fixtures.h"
#include "worker/model/arithmetic.h"

namespace quench::worker::test {
namespace {

struct PackedCase {
  std::uint32_t bits;
  std::int32_t group_size;
};
void PrintTo(const PackedCase& test_case, std::ostream* out) {
  *out << test_case.bits << " bits, group " << test_case.group_size;
}

class PackedModel : public testing::TestWithParam<PackedCase> {
 protected:
  const std::vector<std::int32_t> tokens_ = {3,  14, 15, 92, 65, 35, 89, 79, 32, 38,
                                             46, 26, 43, 38, 32, 79, 50, 2,  88};
};

TEST_P(PackedModel, GivesTheBitsOfItsDequantizedWeights) {
  for (const std::string_view isa : kernels::runnable_isas()) {
    const auto backend = backend_of(isa, 2);
    const TestArtifact artifact = make_artifact(fixture("odd_llama"), *backend, GetParam().bits,
                                                GetParam().group_size, ColumnOrder::source);
    const auto packed = open_artifact(artifact.manifest, artifact.chunks.reader());
    TemporaryDirectory directory;
    write_model(directory.path(), read_text(fixture("odd_llama") / "config.json"), read_model(*packed));
    const auto dense = open_model_directory(directory.path());

    Transformer from_packed(*backend, *packed);
    Transformer from_dense(*backend, *dense);
    EXPECT_LT(from_packed.weight_bytes(), from_dense.weight_bytes());
    EXPECT_EQ(prefill_logits(from_packed, tokens_), prefill_logits(from_dense, tokens_)) << isa;
    EXPECT_EQ(greedy(from_packed, tokens_, 12), greedy(from_dense, tokens_, 12)) << isa;
  }
}

// In products of bf16 every instruction set has the same logits, decoding has those of prefill, and they are near fp32's.
TEST_P(PackedModel, HasOneSetOfBitsInBf16) {
  std::vector<float> expected;
  for (const std::string_view isa : kernels::runnable_isas()) {
    const auto backend = backend_of(isa, 2);
    const TestArtifact artifact =
        make_artifact(fixture("odd_llama"), *backend, GetParam().bits, GetParam().group_size, ColumnOrder::shuffled);
    const auto packed = open_artifact(artifact.manifest, artifact.chunks.reader());
    Transformer transformer(*backend, *packed);
    const std::vector<float> fp32 = prefill_logits(transformer, tokens_);
    const ArithmeticScope scope(*backend, Arithmetic::bf16);
    const std::vector<float> logits = prefill_logits(transformer, tokens_);
    if (expected.empty()) expected = logits;
    EXPECT_EQ(logits, expected) << isa;
    float worst = 0, largest = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      worst = std::max(worst, std::abs(logits[i] - fp32[i]));
      largest = std::max(largest, std::abs(fp32[i]));
    }
    EXPECT_GT(worst, 0);
    EXPECT_LT(worst, 0.1f * largest) << isa;  // random weights make much of a small difference

    SequenceCache cache(transformer.config(), static_cast<std::int64_t>(tokens_.size()), backend->memory());
    std::vector<float> decoded;
    for (const std::int32_t& token : tokens_) {
      const SequenceStep step{&cache, {&token, 1}};
      const kernels::ConstMatrixView row = transformer.forward({&step, 1});
      decoded.insert(decoded.end(), row.data, row.data + row.cols);
    }
    EXPECT_EQ(decoded, logits) << isa;
  }
}

// With act-order the sums run in another order than the dense model's: near, not equal.
TEST_P(PackedModel, ShuffledColumnsMeanTheSameModel) {
  const auto backend = backend_of("", 2);
  const TestArtifact artifact = make_artifact(fixture("odd_llama"), *backend, GetParam().bits,
                                              GetParam().group_size, ColumnOrder::shuffled);
  const auto packed = open_artifact(artifact.manifest, artifact.chunks.reader());
  TemporaryDirectory directory;
  write_model(directory.path(), read_text(fixture("odd_llama") / "config.json"), read_model(*packed));
  const auto dense = open_model_directory(directory.path());
  Transformer from_packed(*backend, *packed);
  Transformer from_dense(*backend, *dense);
  const std::vector<float> a = prefill_logits(from_packed, tokens_);
  const std::vector<float> b = prefill_logits(from_dense, tokens_);
  float worst = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  EXPECT_LT(worst, 2e-4f * largest);
}

INSTANTIATE_TEST_SUITE_P(Grids, PackedModel,
                         testing::Values(PackedCase{8, -1}, PackedCase{4, 64}, PackedCase{4, -1},
                                         PackedCase{3, 64}, PackedCase{3, 40}, PackedCase{2, 16},
                                         PackedCase{4, 1000}),
                         [](const auto& test) {
                           return "Bits" + std::to_string(test.param.bits) + "Group" +
                                  (test.param.group_size < 0 ? "All" : std::to_string(test.param.group_size));
                         });

// The baseline artifact: every tensor raw, cut in chunks, gives the model itself.
TEST(RawArtifact, GivesTheBitsOfItsDirectory) {
  const auto backend = backend_of("");
  const TestArtifact artifact = make_artifact(fixture("stories260k"), *backend, 16, -1, ColumnOrder::source);
  const auto source = open_artifact(artifact.manifest, artifact.chunks.reader());
  const auto directory = open_model_directory(fixture("stories260k"));
  Transformer from_artifact(*backend, *source);
  Transformer from_directory(*backend, *directory);
  const std::vector<std::int32_t> tokens = {1, 403, 407, 261, 378};
  EXPECT_EQ(prefill_logits(from_artifact, tokens), prefill_logits(from_directory, tokens));
}

// A raw tensor of several chunks, read in ranges that begin and end anywhere.
TEST(RawArtifact, ReadsRowsAcrossChunks) {
  TemporaryDirectory directory;
  std::string config = tiny_config();
  config.replace(config.find("\"vocab_size\": 50"), 16, "\"vocab_size\": 70000");
  TestModel model = tiny_model(3);
  std::vector<float> table(70000 * 32);
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i % 1000003);
  model["model.embed_tokens.weight"] = f32_tensor({70000, 32}, table);
  model["lm_head.weight"] = f32_tensor({70000, 32}, table);
  write_model(directory.path(), config, model);
  const auto backend = backend_of("");
  const TestArtifact artifact = make_artifact(directory.path(), *backend, 16, -1, ColumnOrder::source);
  const auto source = open_artifact(artifact.manifest, artifact.chunks.reader());
  for (const std::uint64_t first : {0ull, 32767ull, 32768ull, 65530ull}) {
    const std::vector<float> rows = read_rows(*source, "lm_head.weight", first, 5);
    EXPECT_TRUE(std::equal(rows.begin(), rows.end(), table.begin() + static_cast<std::ptrdiff_t>(first * 32)))
        << first;
  }
  EXPECT_EQ(read_tensor(*source, "lm_head.weight"), table);
}

class HostileArtifact : public testing::Test {
 protected:
  HostileArtifact() : backend_(backend_of("")) {
    write_model(directory_.path(), tiny_config(), tiny_model(5));
    artifact_ = make_artifact(directory_.path(), *backend_, 4, 16, ColumnOrder::shuffled);
  }
  TensorRecord& record(const std::string& name) {
    for (TensorRecord& tensor : artifact_.manifest.tensors)
      if (tensor.name == name) return tensor;
    throw std::runtime_error(name);
  }
  std::string error() {
    try {
      const auto source = open_artifact(artifact_.manifest, artifact_.chunks.reader());
      Transformer transformer(*backend_, *source);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  TemporaryDirectory directory_;
  std::unique_ptr<kernels::Backend> backend_;
  TestArtifact artifact_;
  const std::string down_ = "model.layers.1.mlp.down_proj.weight";
};

TEST_F(HostileArtifact, WholeOneLoads) { EXPECT_EQ(error(), "no error"); }

TEST_F(HostileArtifact, RefusesAChunkWithAnotherDigest) {
  artifact_.chunks.at(record(down_).chunks[0].digest)[3] ^= 1;
  EXPECT_THAT(error(), testing::AllOf(testing::HasSubstr("block 1"), testing::HasSubstr(down_),
                                      testing::HasSubstr("row tile 0"), testing::HasSubstr("digest")));
}

TEST_F(HostileArtifact, RefusesAShortChunk) {
  artifact_.chunks.at(record("model.norm.weight").chunks[0].digest).pop_back();
  EXPECT_THAT(error(), testing::HasSubstr("model.norm.weight"));
}

TEST_F(HostileArtifact, RefusesWrongSizes) {
  using Change = std::function<void(TensorRecord&)>;
  const std::pair<Change, std::string> changes[] = {
      {[](TensorRecord& r) { r.chunks.pop_back(); }, "row tiles"},
      {[](TensorRecord& r) { r.chunks.push_back(r.chunks[0]); }, "row tiles"},
      {[](TensorRecord& r) { r.chunks[0].bytes += 16; }, "expected"},
      {[](TensorRecord& r) { r.bits = 5; }, "has 5 bits"},
      {[](TensorRecord& r) { r.bits = 0; }, "has 0 bits"},
      {[](TensorRecord& r) { r.group_size = 0; }, "group size 0"},
      {[](TensorRecord& r) { r.group_size = -7; }, "group size -7"},
      {[](TensorRecord& r) { r.group_size = 30; }, "row tile 0 has"},
      {[](TensorRecord& r) { r.rows_per_tile = 0; }, "0 rows per tile"},
      {[](TensorRecord& r) { r.rows_per_tile = 24; }, "24 rows per tile"},
      {[](TensorRecord& r) { r.permutation.bytes = 8; }, "column order"},
      {[](TensorRecord& r) { std::swap(r.shape[0], r.shape[1]); }, "shape [56, 32]"},
      {[](TensorRecord& r) { r.shape = {32}; }, "shape [32]"},
      {[](TensorRecord& r) { r.layout = TensorLayout::raw; }, "has a chunk of"},
  };
  const TensorRecord whole = record(down_);
  for (const auto& [change, expected] : changes) {
    record(down_) = whole;
    change(record(down_));
    EXPECT_THAT(error(), testing::AllOf(testing::HasSubstr(down_), testing::HasSubstr(expected)));
  }
}

TEST_F(HostileArtifact, RefusesAColumnOrderThatIsNone) {
  std::vector<std::uint8_t> order(56 * 4, 0);
  record(down_).permutation = artifact_.chunks.put(order);
  EXPECT_THAT(error(), testing::HasSubstr("column 0 twice"));
  order[0] = 56;
  record(down_).permutation = artifact_.chunks.put(order);
  EXPECT_THAT(error(), testing::HasSubstr("column 56 twice or outside"));
  order[3] = 0x80;
  record(down_).permutation = artifact_.chunks.put(order);
  EXPECT_THAT(error(), testing::HasSubstr("outside"));
}

TEST_F(HostileArtifact, RefusesAnInfiniteScale) {
  std::vector<std::uint8_t> chunk = artifact_.chunks.at(record(down_).chunks[0].digest);
  // 32 rows of 56 inputs at 4 bits: 2 panels of 7 lines.
  chunk[2 * 7 * 64 + 10] = 0x00;
  chunk[2 * 7 * 64 + 11] = 0x7c;
  record(down_).chunks[0] = artifact_.chunks.put(chunk);
  EXPECT_THAT(error(), testing::AllOf(testing::HasSubstr(down_), testing::HasSubstr("scale 5")));
}

TEST_F(HostileArtifact, RefusesToBeIncomplete) {
  auto& tensors = artifact_.manifest.tensors;
  std::erase_if(tensors, [&](const TensorRecord& tensor) { return tensor.name == down_; });
  EXPECT_THAT(error(), testing::HasSubstr(down_ + " is missing"));
  artifact_.manifest.files.clear();
  EXPECT_THAT(error(), testing::HasSubstr("config.json"));
}

TEST_F(HostileArtifact, RefusesATensorListedTwice) {
  artifact_.manifest.tensors.push_back(record(down_));
  EXPECT_THAT(error(), testing::HasSubstr("listed twice"));
}

// What a resuming gang has: only some blocks' records.
TEST_F(HostileArtifact, SomeRecordsGiveTheirBlock) {
  std::vector<TensorRecord> block_1;
  for (const TensorRecord& tensor : artifact_.manifest.tensors)
    if (tensor.name.starts_with("model.layers.1.")) block_1.push_back(tensor);
  const auto source =
      open_tensor_records(parse_model_config(tiny_config(), "tiny"), block_1, artifact_.chunks.reader());
  EXPECT_EQ(load_block(*source, 1).linears[kDown].inputs(), 56);
  EXPECT_THROW(load_block(*source, 0), Error);
}

}  // namespace
}  // namespace quench::worker::test
