// Model directories: what is read, and what is refused by which words.
#include "worker/model/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/weight_panels.h"
#include "schemas/error.h"
#include "tests/worker/model/model_fixtures.h"

namespace quench::worker::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ModelDirectoryTest : public testing::Test {
 protected:
  ModelDirectoryTest() : model_(tiny_model(2)) {}

  // Opens and reads everything; the error's words, or "no error".
  std::string error() {
    try {
      write_model(directory_.path(), tiny_config(), model_);
      const auto source = open_model_directory(directory_.path());
      const auto backend = backend_of("");
      Transformer transformer(*backend, *source);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input) << error.what();
      return error.what();
    }
    return "no error";
  }
  void set_value(const std::string& name, std::size_t index, float value) {
    std::memcpy(model_.at(name).bytes.data() + 4 * index, &value, 4);
  }

  TemporaryDirectory directory_;
  TestModel model_;
  const std::string up_ = "model.layers.1.mlp.up_proj.weight";
};

TEST_F(ModelDirectoryTest, WholeOneLoads) { EXPECT_EQ(error(), "no error"); }

TEST_F(ModelDirectoryTest, NamesAMissingTensor) {
  model_.erase(up_);
  EXPECT_THAT(error(), AllOf(HasSubstr(directory_.path().string()), HasSubstr(up_ + " is missing")));
}

TEST_F(ModelDirectoryTest, NamesAWrongShape) {
  model_[up_].shape = {32, 56};
  EXPECT_THAT(error(), AllOf(HasSubstr("model.safetensors"), HasSubstr(up_), HasSubstr("[32, 56]"),
                             HasSubstr("[56, 32]")));
}

TEST_F(ModelDirectoryTest, NamesATypeItDoesNotRead) {
  for (const auto& [dtype, name] : {std::pair{DType::f64, "F64"}, std::pair{DType::i64, "I64"}}) {
    model_[up_] = {dtype, {56, 32}, std::vector<std::uint8_t>(56 * 32 * 8)};
    EXPECT_THAT(error(), AllOf(HasSubstr(up_), HasSubstr(name), HasSubstr("expected F32, F16 or BF16")));
  }
  model_[up_] = {DType::i8, {56, 32}, std::vector<std::uint8_t>(56 * 32)};
  EXPECT_THAT(error(), AllOf(HasSubstr(up_), HasSubstr("I8")));
}

TEST_F(ModelDirectoryTest, NamesTheFirstValueThatIsNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const std::string& name :
       {std::string("model.embed_tokens.weight"), up_, std::string("model.norm.weight"),
        std::string("model.layers.0.input_layernorm.weight"), std::string("lm_head.weight")}) {
    for (const float bad : {nan, -nan, infinity, -infinity}) {
      model_ = tiny_model(2);
      set_value(name, 30, bad);
      set_value(name, 31, bad);
      EXPECT_THAT(error(), AllOf(HasSubstr(name), HasSubstr("value 30 is NaN or infinite")));
    }
  }
}

TEST_F(ModelDirectoryTest, FindsValuesThatAreNotFiniteInHalfTypes) {
  for (const auto& [dtype, bits] : {std::pair{DType::f16, 0x7c00}, std::pair{DType::f16, 0xfe01},
                                    std::pair{DType::bf16, 0x7f80}, std::pair{DType::bf16, 0xffc0}}) {
    model_[up_] = {dtype, {56, 32}, std::vector<std::uint8_t>(56 * 32 * 2)};
    const auto word = static_cast<std::uint16_t>(bits);
    std::memcpy(model_[up_].bytes.data() + 2 * 777, &word, 2);
    EXPECT_THAT(error(), AllOf(HasSubstr(up_), HasSubstr("value 777 "))) << bits;
  }
  // The largest finite values of both are no mistake.
  const std::uint16_t largest = 0x7bff;
  model_[up_] = {DType::f16, {56, 32}, std::vector<std::uint8_t>(56 * 32 * 2)};
  std::memcpy(model_[up_].bytes.data(), &largest, 2);
  EXPECT_EQ(error(), "no error");
}

// The index counts from the tensor's start, not from the rows that this rank reads.
TEST_F(ModelDirectoryTest, CountsFromTheTensorsStart) {
  set_value(up_, 40 * 32 + 5, std::numeric_limits<float>::infinity());
  write_model(directory_.path(), tiny_config(), model_);
  const auto source = open_model_directory(directory_.path());
  EXPECT_NO_THROW(read_rows(*source, up_, 0, 40));
  try {
    read_rows(*source, up_, 36, 10);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("value 1285 "));
  }
}

TEST_F(ModelDirectoryTest, RefusesABiasRatherThanIgnoringIt) {
  model_["model.layers.0.self_attn.q_proj.bias"] = f32_tensor({48}, std::vector<float>(48, 0.5f));
  EXPECT_THAT(error(), AllOf(HasSubstr("q_proj.bias"), HasSubstr("bias")));
}

// Older checkpoints carry the rope's frequencies; the config has them too.
TEST_F(ModelDirectoryTest, LeavesOutTensorsTheModelDoesNotHave) {
  model_["model.layers.0.self_attn.rotary_emb.inv_freq"] = f32_tensor({6}, std::vector<float>(6));
  EXPECT_EQ(error(), "no error");
}

TEST_F(ModelDirectoryTest, RefusesATruncatedFile) {
  write_model(directory_.path(), tiny_config(), model_);
  const auto file = directory_.path() / "model.safetensors";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  EXPECT_THROW(open_model_directory(directory_.path()), Error);
}

TEST_F(ModelDirectoryTest, NoticesAFileThatIsCutWhileInUse) {
  write_model(directory_.path(), tiny_config(), model_);
  const auto source = open_model_directory(directory_.path());
  const auto file = directory_.path() / "model.safetensors";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  try {
    for (const auto& [name, tensor] : model_) read_tensor(*source, name);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("model.safetensors"), HasSubstr("the file ends at byte")));
  }
}

TEST_F(ModelDirectoryTest, RefusesAConfigOfAnotherModel) {
  write_model(directory_.path(), tiny_config(), model_);
  write_text(directory_.path() / "config.json", read_text(fixture("odd_llama") / "config.json"));
  EXPECT_THROW(open_model_directory(directory_.path()), Error);
}

TEST_F(ModelDirectoryTest, ReadsRowRangesOfEveryType) {
  // All 65536 bit patterns of each half type that are finite, as the rows of a table.
  for (const DType dtype : {DType::f16, DType::bf16}) {
    std::vector<std::uint8_t> bytes(56 * 32 * 2);
    for (std::uint32_t i = 0; i < 56 * 32; ++i) {
      std::uint16_t word = static_cast<std::uint16_t>(i * 36);
      if ((word & 0x7f80) == 0x7f80 || (word & 0x7c00) == 0x7c00) word &= 0x83ff;
      std::memcpy(bytes.data() + 2 * i, &word, 2);
    }
    model_[up_] = {dtype, {56, 32}, bytes};
    write_model(directory_.path(), tiny_config(), model_);
    const auto source = open_model_directory(directory_.path());
    const std::vector<float> rows = read_rows(*source, up_, 10, 20);
    ASSERT_EQ(rows.size(), 640u);
    for (std::uint32_t i = 0; i < 640; ++i) {
      std::uint16_t word;
      std::memcpy(&word, bytes.data() + 2 * (320 + i), 2);
      const float expected =
          dtype == DType::f16 ? kernels::f16_to_f32(word) : std::bit_cast<float>(std::uint32_t{word} << 16);
      ASSERT_EQ(std::bit_cast<std::uint32_t>(rows[i]), std::bit_cast<std::uint32_t>(expected)) << i;
    }
  }
}

}  // namespace
}  // namespace quench::worker::test
