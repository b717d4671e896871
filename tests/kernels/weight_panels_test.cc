#include "kernels/weight_panels.h"

#include <cmath>

#include "tests/kernels/backend_fixture.h"

namespace quench::kernels {
namespace {

TEST(WeightPanels, PackThenUnpackGivesTheCodesBack) {
  for (const int bits : {8, 4, 3, 2}) {
    for (const std::int64_t cols : {1, 7, 31, 32, 33, 40, 100}) {
      const PackedCase c = random_packed(bits, 35, cols, -1, 7);
      std::vector<std::uint8_t> back(c.codes.size());
      unpack_codes(c.panels.view(), back.data());
      EXPECT_EQ(back, c.codes) << bits << " bits, " << cols << " columns";
    }
  }
}

// The layout is part of the artifact format: word r of line g holds row r, lowest column lowest.
TEST(WeightPanels, WordsHoldOneRowLowestColumnLowest) {
  std::vector<std::uint8_t> codes(16 * 64);
  for (std::size_t i = 0; i < codes.size(); ++i)
    codes[i] = static_cast<std::uint8_t>((i * 37 + i / 64) % 256);
  const auto word = [](const std::vector<std::uint8_t>& panel, std::size_t index) {
    return static_cast<std::uint32_t>(panel[4 * index]) |
           static_cast<std::uint32_t>(panel[4 * index + 1]) << 8 |
           static_cast<std::uint32_t>(panel[4 * index + 2]) << 16 |
           static_cast<std::uint32_t>(panel[4 * index + 3]) << 24;
  };
  for (const int bits : {8, 4, 2}) {
    std::vector<std::uint8_t> small = codes;
    for (auto& code : small) code = static_cast<std::uint8_t>(code & ((1u << bits) - 1u));
    std::vector<std::uint8_t> panel(panel_bytes(packed_format(bits), 64));
    pack_panel(bits, small.data(), 16, 64, 64, panel.data());
    const std::size_t per = 32 / static_cast<std::size_t>(bits);
    for (std::size_t line = 0; line < 64 / per; ++line) {
      for (std::size_t row = 0; row < 16; ++row) {
        std::uint32_t expected = 0;
        for (std::size_t j = 0; j < per; ++j) {
          expected |= static_cast<std::uint32_t>(small[row * 64 + line * per + j])
                      << (static_cast<std::size_t>(bits) * j);
        }
        ASSERT_EQ(word(panel, line * 16 + row), expected)
            << bits << " bits, line " << line << ", row " << row;
      }
    }
  }
  for (auto& code : codes) code = static_cast<std::uint8_t>(code & 7u);
  std::vector<std::uint8_t> panel(panel_bytes(WeightFormat::q3, 64));
  ASSERT_EQ(panel.size(), 384u);
  pack_panel(3, codes.data(), 16, 64, 64, panel.data());
  for (std::size_t group = 0; group < 2; ++group) {
    for (std::size_t row = 0; row < 16; ++row) {
      for (std::size_t j = 0; j < 32; ++j) {
        const std::uint32_t low = word(panel, group * 48 + j / 16 * 16 + row) >> (2 * (j % 16)) & 3u;
        const std::uint32_t high = word(panel, group * 48 + 32 + row) >> j & 1u;
        ASSERT_EQ(low | high << 2, codes[row * 64 + group * 32 + j]);
      }
    }
  }
}

TEST(WeightPanels, DensePanelsHoldTheRowsSideBySideAndZerosBelow) {
  const Matrix w = random_matrix(19, 33, 3);
  std::vector<std::uint16_t> halves;
  for (const float value : w.values) halves.push_back(f32_to_f16(value));
  WeightPanels direct = WeightPanels::allocate(WeightFormat::f16, 19, 33);
  WeightPanels widened = WeightPanels::allocate(WeightFormat::f32, 19, 33);
  pack_dense(halves.data(), ElementType::f16, direct);
  pack_dense(halves.data(), ElementType::f16, widened);
  const std::uint16_t* narrow = reinterpret_cast<const std::uint16_t*>(direct.panels.data());
  const float* wide = reinterpret_cast<const float*>(widened.panels.data());
  for (std::size_t row = 0; row < 32; ++row) {
    for (std::size_t k = 0; k < 33; ++k) {
      const std::uint16_t expected = row < 19 ? halves[row * 33 + k] : std::uint16_t{0};
      const std::size_t at = (row / 16 * 33 + k) * 16 + row % 16;
      ASSERT_EQ(narrow[at], expected);
      ASSERT_EQ(wide[at], f16_to_f32(expected));
    }
  }
  Matrix back(19, 33);
  dequantize(direct.view(), back.view());
  for (std::size_t i = 0; i < halves.size(); ++i) ASSERT_EQ(back.values[i], f16_to_f32(halves[i]));
}

TEST(WeightPanels, HalfPrecisionRoundTripsAndRoundsToNearestEven) {
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const std::uint16_t half = static_cast<std::uint16_t>(bits);
    const float value = f16_to_f32(half);
    if (std::isnan(value)) continue;
    ASSERT_EQ(f32_to_f16(value), half) << bits;
    const bool finite = (half & 0x7c00u) != 0x7c00u;
    if (!finite || (half & 0x7fffu) == 0x7bffu) continue;
    const float next = f16_to_f32(static_cast<std::uint16_t>(half + 1));
    const float middle = (value + next) / 2;  // exact in fp32
    ASSERT_EQ(f32_to_f16(middle), half % 2 == 0 ? half : half + 1);
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, value)), half);
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, next)), half + 1);
  }
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(1e-10f), 0);
  EXPECT_EQ(bf16_to_f32(0x3f80), 1.0f);
}

}  // namespace
}  // namespace quench::kernels
