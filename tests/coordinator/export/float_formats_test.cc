// Our roundings to fp16 and bf16 against the compiler's.
#include "coordinator/export/float_formats.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "coordinator/export/model_card.h"

namespace quench::coordinator {
namespace {

TEST(FloatFormats, EveryHalfIsReadAsTheCompilerReadsItAndComesBack) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const auto expected = static_cast<float>(std::bit_cast<_Float16>(half));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(f16_to_f32(half)) && std::isnan(f16_to_f32(f32_to_f16(expected)))) << bits;
      continue;
    }
    ASSERT_EQ(std::bit_cast<std::uint32_t>(f16_to_f32(half)), std::bit_cast<std::uint32_t>(expected)) << bits;
    ASSERT_EQ(f32_to_f16(expected), half);
    if (std::isfinite(expected) && std::isfinite(f16_to_f32(static_cast<std::uint16_t>(bits + 1)))) {
      // Half way between neighbours, and one step to either side of it.
      const float middle = (expected + f16_to_f32(static_cast<std::uint16_t>(bits + 1))) / 2;
      for (const float value : {std::nextafter(middle, 0.0f), middle, std::nextafter(middle, 2 * middle)})
        ASSERT_EQ(f32_to_f16(value), std::bit_cast<std::uint16_t>(static_cast<_Float16>(value))) << value;
    }
  }
  EXPECT_EQ(f32_to_f16(65519.99f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
}

TEST(FloatFormats, AnyFloatRoundsToTheNearestBrainFloat) {
  std::mt19937 random(1);
  for (int i = 0; i < 1'000'000; ++i) {
    const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    const std::uint16_t bits = f32_to_bf16(value);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(bf16_to_f32(bits)));
      continue;
    }
    ASSERT_EQ(f32_to_f16(value), std::bit_cast<std::uint16_t>(static_cast<_Float16>(value))) << value;
    const double error = std::abs(double{bf16_to_f32(bits)} - value);
    for (const int step : {-1, 1}) {
      const double other = std::abs(double{bf16_to_f32(static_cast<std::uint16_t>(bits + step))} - value);
      if (std::isnan(other) || std::isinf(error)) continue;
      ASSERT_LE(error, other) << value;
      ASSERT_TRUE(error < other || bits % 2 == 0) << value;
    }
  }
}

TEST(ModelCard, ReadsPlainWordsOfTheFrontMatterOnly) {
  const std::string card = "---\r\ntags:\n- code\nlicense: \"llama2\"\nlicense_name: a | b\n---\nlicense: mit\nother: x\n";
  EXPECT_EQ(front_matter_word(card, "license"), "llama2");
  EXPECT_EQ(front_matter_word(card, "license_name"), "") << "it would break the table";
  EXPECT_EQ(front_matter_word(card, "other"), "");
  EXPECT_EQ(front_matter_word("license: mit\n", "license"), "");
}

}  // namespace
}  // namespace quench::coordinator
