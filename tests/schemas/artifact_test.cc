#include "schemas/artifact.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "schemas/error.h"
#include "schemas/packed_layout.h"

namespace quench {
namespace {

TensorRecord packed_record(std::uint32_t bits) {
  TensorRecord tensor;
  tensor.name = "model.layers.0.mlp.up_proj.weight";
  tensor.layout = TensorLayout::packed;
  tensor.dtype = DType::f16;
  tensor.shape = {40, 64};
  tensor.bits = bits;
  tensor.group_size = 32;
  tensor.rows_per_tile = 32;
  for (const std::uint32_t rows : {32u, 8u}) {
    const PackedTileShape tile{.rows = rows, .inputs = 64, .bits = bits, .group_size = 32};
    tensor.chunks.push_back({sha256(std::to_string(rows)), tile.bytes()});
  }
  return tensor;
}

TensorRecord raw_record() {
  TensorRecord tensor;
  tensor.name = "model.embed_tokens.weight";
  tensor.dtype = DType::f32;
  tensor.shape = {1000, 2000};  // 8,000,000 bytes: one full chunk and a rest
  tensor.chunks = {{sha256("a"), kRawChunkBytes}, {sha256("b"), 8'000'000 - kRawChunkBytes}};
  return tensor;
}

TEST(Artifact, BytesCountEachChunkOnce) {
  Manifest manifest;
  manifest.files = {{"config.json", {sha256("f"), 10}}, {"copy.json", {sha256("f"), 10}}};
  manifest.tensors = {raw_record(), raw_record(), packed_record(4)};
  manifest.tensors[2].permutation = {sha256("p"), 256};
  EXPECT_EQ(artifact_bytes(manifest),
            10 + 8'000'000 + manifest.tensors[2].chunks[0].bytes + manifest.tensors[2].chunks[1].bytes + 256);
}

TEST(Artifact, BitsPerWeightCountScalesZerosAndPermutation) {
  Manifest manifest;
  manifest.tensors = {raw_record(), packed_record(4)};
  const auto& chunks = manifest.tensors[1].chunks;
  const double bits = 8.0 * static_cast<double>(chunks[0].bytes + chunks[1].bytes);
  EXPECT_DOUBLE_EQ(bits_per_weight(manifest), bits / (40 * 64));
  manifest.tensors[1].permutation = {sha256("p"), 256};
  EXPECT_DOUBLE_EQ(bits_per_weight(manifest), (bits + 8 * 256) / (40 * 64));
  EXPECT_EQ(bits_per_weight(Manifest{}), 0);
}

TEST(Artifact, BaselineIsCalledByTheBitsOfItsLinears) {
  Manifest manifest;
  manifest.recipe.method = Method::none;
  TensorRecord linear = raw_record();
  linear.name = "model.layers.0.mlp.up_proj.weight";
  linear.dtype = DType::bf16;
  manifest.tensors = {raw_record(), linear};
  EXPECT_EQ(nominal_bits(manifest), 16u);
  manifest.recipe = {.bits = 3};
  EXPECT_EQ(nominal_bits(manifest), 3u);
}

TEST(TensorRecordCheck, AcceptsWhatIsConsistent) {
  EXPECT_NO_THROW(check_tensor_record(raw_record()));
  for (const std::uint32_t bits : {8u, 4u, 3u, 2u}) EXPECT_NO_THROW(check_tensor_record(packed_record(bits)));
}

void expect_corrupt(TensorRecord tensor, const auto& change, const std::string& part) {
  change(tensor);
  try {
    check_tensor_record(tensor);
    ADD_FAILURE() << "accepted; expected \"" << part << '"';
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::corrupt);
    EXPECT_THAT(error.what(), testing::HasSubstr(part));
    EXPECT_THAT(error.what(), testing::HasSubstr(tensor.name));
  }
}

TEST(TensorRecordCheck, RefusesWhatIsNot) {
  expect_corrupt(
      packed_record(4),
      [](auto& t) {
        t.shape = {0, 64};
      },
      "absurd extent");
  expect_corrupt(
      packed_record(4),
      [](auto& t) {
        t.shape = {1ull << 40, 64};
      },
      "absurd extent");
  expect_corrupt(
      packed_record(4),
      [](auto& t) {
        t.shape = {1u << 31, 1u << 31};
      },
      "absurd extent");
  expect_corrupt(
      packed_record(4), [](auto& t) { t.shape = {2560}; }, "not a matrix");
  expect_corrupt(
      packed_record(4), [](auto& t) { t.bits = 5; }, "packed at 5 bits");
  expect_corrupt(
      packed_record(4), [](auto& t) { t.group_size = 0; }, "group size of 0");
  expect_corrupt(
      packed_record(4), [](auto& t) { t.rows_per_tile = 8; }, "multiple of 16");
  expect_corrupt(
      packed_record(4), [](auto& t) { t.chunks.pop_back(); }, "1 chunks for 40 rows");
  expect_corrupt(
      packed_record(4), [](auto& t) { t.chunks[1].bytes += 1; }, "tile 1 has");
  expect_corrupt(
      packed_record(4),
      [](auto& t) {
        t.permutation = {sha256("p"), 4};
      },
      "permutation of 4 bytes");
  expect_corrupt(
      raw_record(),
      [](auto& t) {
        t.shape = {1000, 2001};
      },
      "its shape takes 8004000");
  expect_corrupt(
      raw_record(), [](auto& t) { t.chunks[0].bytes -= 8; }, "chunk 0 has");
  expect_corrupt(
      raw_record(), [](auto& t) { t.chunks.push_back({}); }, "chunk 1 has");
  expect_corrupt(
      raw_record(), [](auto& t) { t.shape.resize(9, 1); }, "more than 8 dimensions");
}

TEST(TensorRecordCheck, IntegerActivationsNeedEightBitsOneScaleARowAndTheirOwnScaleOrNone) {
  TensorRecord tensor;
  tensor.name = "model.layers.0.mlp.up_proj.weight";
  tensor.layout = TensorLayout::packed;
  tensor.shape = {32, 64};
  tensor.bits = 8;
  tensor.rows_per_tile = 32;
  tensor.chunks = {{sha256("tile"), PackedTileShape{.rows = 32, .inputs = 64, .bits = 8, .group_size = -1}.bytes()}};
  tensor.activations = Activations::dynamic;
  EXPECT_NO_THROW(check_tensor_record(tensor));
  expect_corrupt(tensor, [](auto& t) { t.activation_scale = 0.5; }, "dynamic activations with a scale");
  expect_corrupt(tensor, [](auto& t) { t.group_size = 32; }, "expected 8 bits, one scale a row");
  expect_corrupt(tensor, [](auto& t) { t.permutation = {sha256("p"), 256}; }, "no permutation");
  expect_corrupt(tensor, [](auto& t) { t.shape[1] = kIntegerInputsMax + 1; }, "expected at most");
  tensor.activations = Activations::fixed;
  tensor.activation_scale = 0.5;
  EXPECT_NO_THROW(check_tensor_record(tensor));
  for (const double scale : {0.0, -0.5, 0.1, 1e39, std::numeric_limits<double>::quiet_NaN()})
    expect_corrupt(tensor, [&](auto& t) { t.activation_scale = scale; }, "a positive fp32 number");
  tensor.activations = Activations::none;
  expect_corrupt(tensor, [](auto&) {}, "activations that are not rounded");
}

TEST(VerdictResultNames, AreThoseOfTheGradeFile) {
  EXPECT_EQ(to_string(VerdictResult::passed), "passed");
  EXPECT_EQ(to_string(VerdictResult::sandbox_violation), "sandbox_violation");
  EXPECT_EQ(to_string(VerdictResult::compile_error), "compile_error");
  EXPECT_EQ(to_string(Confinement::namespaces), "namespaces");
  EXPECT_EQ(to_string(Confinement::landlock), "landlock");
}

}  // namespace
}  // namespace quench
