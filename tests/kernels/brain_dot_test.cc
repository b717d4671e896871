// Products of bf16: the definition written down with std::fma, on every instruction set; the instruction of AVX512-BF16 beside
// the two fused multiply-adds it stands for.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/cpu_features.h"
#include "tests/kernels/brain_fixture.h"

namespace quench::kernels {
namespace {

using BrainDotTest = BrainTest;

// A weight's parts as numbers that a bf16 holds: code + offset, of eight bits in two halves.
struct Weight {
  float low = 0, high = 0;
};
Weight parts(int bits, std::uint8_t code) {
  if (bits == 8) return {16.0f + (code & 15), 256.0f + 16.0f * static_cast<float>(code >> 4)};
  return {static_cast<float>((bits == 4 ? 16 : bits == 3 ? 8 : 4) + code), 0};
}
float offset(int bits) { return bits == 8 ? 272.0f : bits == 4 ? 16.0f : bits == 3 ? 8.0f : 4.0f; }

// Columns in the order in which a line's words have them: the upper one of a word first.
std::vector<std::int64_t> order_of_line(int bits) {
  switch (bits) {
    case 8: return {2, 0, 3, 1};
    case 4: return {4, 0, 5, 1, 6, 2, 7, 3};
    case 2: return {8, 0, 9, 1, 10, 2, 11, 3, 12, 4, 13, 5, 14, 6, 15, 7};
    case 3: {
      std::vector<std::int64_t> order = order_of_line(2);
      for (std::size_t i = 0; i < 16; ++i) order.push_back(order[i] + 16);
      return order;
    }
    default: return {1, 0};
  }
}

// Sum over a segment: column i into partial sum i mod 16, then the tree.
float segment_sum(const std::vector<float>& x, std::int64_t begin, std::int64_t end) {
  float t[16] = {};
  for (std::int64_t k = begin; k < end; ++k) t[(k - begin) % 16] += x[static_cast<std::size_t>(k)];
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) t[i] += t[i + width];
  return t[0];
}

// `dense` [N, K] when bits is 0.
Matrix reference_product(const Matrix& x, int bits, std::int64_t group_size, const PackedCase& w, const Matrix& dense) {
  const std::int64_t columns = x.cols, rows = bits == 0 ? dense.rows : w.panels.rows;
  const std::int64_t group = bits == 0 || group_size < 0 ? columns : group_size;
  const std::vector<std::int64_t> order = order_of_line(bits);
  const auto per = static_cast<std::int64_t>(order.size());
  Matrix y(x.rows, rows);
  for (std::int64_t m = 0; m < x.rows; ++m) {
    std::vector<float> values(static_cast<std::size_t>(columns));
    for (std::int64_t k = 0; k < columns; ++k) values[static_cast<std::size_t>(k)] = rounded(x.at(m, k));
    for (std::int64_t n = 0; n < rows; ++n) {
      float total = 0;
      for (std::int64_t begin = 0, end = 0; begin < columns; begin = end) {
        end = std::min({columns, (begin / group + 1) * group, begin + 256});
        float d = 0;
        for (std::int64_t line = begin / per * per; line < end; line += per) {
          // Eight bits: both halves of a pair of columns before the next pair.
          for (std::int64_t i = 0; i < per; i += 2)
            for (int half = 0; half < (bits == 8 ? 2 : 1); ++half)
              for (std::int64_t j = i; j < i + 2; ++j) {
                const std::int64_t k = line + order[static_cast<std::size_t>(j)];
                if (k < begin || k >= end) continue;
                float weight = 0;
                if (bits == 0) {
                  weight = rounded(dense.at(n, k));
                } else {
                  const Weight both = parts(bits, w.codes[static_cast<std::size_t>(n * columns + k)]);
                  weight = half == 0 ? both.low : both.high;
                }
                d = std::fma(weight, values[static_cast<std::size_t>(k)], d);
              }
        }
        if (bits == 0) {
          total = d + total;
          continue;
        }
        const auto at = static_cast<std::size_t>(n * group_count(columns, group) + begin / group);
        d = std::fma(-(offset(bits) + w.zeros[at]), segment_sum(values, begin, end), d);
        total = std::fma(f16_to_f32(w.scales[at]), d, total);
      }
      y.at(m, n) = total;
    }
  }
  return y;
}

struct Shape {
  std::int64_t m, n, k, group;
};
constexpr Shape kShapes[] = {{1, 83, 384, 128}, {1, 16, 3, -1},   {17, 35, 301, 128}, {13, 1, 257, -1}, {2, 64, 512, 64},
                             {27, 33, 70, 24},  {5, 40, 300, 10}, {25, 70, 96, 32},   {1, 70, 600, 20}, {500, 17, 22, -1}};

TEST_P(BrainDotTest, IsTheDefinitionForEveryShape) {
  for (const Shape s : kShapes) {
    const Matrix x = random_matrix(s.m, s.k, 1, 1.0f, 3);
    for (const int bits : {0, 8, 4, 3, 2}) {
      const Matrix dense = random_matrix(s.n, s.k, 4, 0.05f);
      PackedCase w;
      if (bits > 0) w = random_packed(bits, s.n, s.k, s.group, 2);
      Matrix y(s.m, s.n, 5);
      backend->gemm(x.view(), bits == 0 ? dense_panels(dense).view() : w.panels.view(), y.view());
      const Matrix expected = reference_product(x, bits, s.group, w, dense);
      for (std::int64_t m = 0; m < s.m; ++m)
        for (std::int64_t n = 0; n < s.n; ++n)
          ASSERT_EQ(y.at(m, n), expected.at(m, n))
              << bits << " bits, " << s.m << " x " << s.n << " x " << s.k << " by " << s.group << ", row " << m << ", column " << n;
    }
  }
}

// Stored types give what their values as fp32 do, one row and several.
TEST_P(BrainDotTest, TakesEveryStoredType) {
  const Matrix x = random_matrix(3, 77, 5);
  std::mt19937 random(6);
  std::vector<std::uint16_t> stored(40 * 77);
  for (std::uint16_t& value : stored) value = static_cast<std::uint16_t>((random() & 0x83ffu) | 0x3800u);  // 0.5 … 2 as fp16, small as bf16
  for (const ElementType type : {ElementType::f16, ElementType::bf16}) {
    Matrix values(40, 77);
    convert_to_f32(stored.data(), type, stored.size(), values.values.data());
    WeightPanels panels = WeightPanels::allocate(type == ElementType::f16 ? WeightFormat::f16 : WeightFormat::bf16, 40, 77);
    pack_dense(stored.data(), type, panels);
    for (const std::int64_t rows : {1, 3}) {
      Matrix a(rows, 40), b(rows, 40);
      backend->gemm(x.view().row_range(0, rows), panels.view(), a.view());
      backend->gemm(x.view().row_range(0, rows), dense_panels(values).view(), b.view());
      EXPECT_TRUE(same_bits(a.values, b.values));
    }
  }
}

TEST_P(BrainDotTest, ARowDoesNotDependOnItsBatch) {
  const Matrix x = random_matrix(31, 400, 3);
  for (const int bits : {8, 4, 3, 2}) {
    const PackedCase w = random_packed(bits, 150, 400, 128, 4);
    Matrix together(31, 150), alone(31, 150);
    backend->gemm(x.view(), w.panels.view(), together.view());
    for (std::int64_t row = 0; row < 31; ++row)
      backend->gemm(x.view().row_range(row, 1), w.panels.view(), alone.view().row_range(row, 1));
    EXPECT_TRUE(same_bits(together.values, alone.values)) << bits << " bits";
  }
}

// x has a relative error of at most 2^-8, which is all that the products differ by: codes are exact. Also where all of x has one
// sign, so that the offsets of the codes cancel.
TEST_P(BrainDotTest, IsNearTheProductInDouble) {
  for (const bool positive : {false, true}) {
    Matrix x = random_matrix(4, 1024, 7);
    if (positive)
      for (float& value : x.values) value = std::fabs(value);
    for (const int bits : {8, 4, 3, 2}) {
      const PackedCase w = random_packed(bits, 48, 1024, 128, 8);
      Matrix values(48, 1024), y(4, 48);
      dequantize(w.panels.view(), values.view());
      backend->gemm(x.view(), w.panels.view(), y.view());
      for (std::int64_t m = 0; m < 4; ++m)
        for (std::int64_t n = 0; n < 48; ++n) {
          double exact = 0, squares = 0;
          for (std::int64_t k = 0; k < 1024; ++k) {
            const double product = static_cast<double>(x.at(m, k)) * values.at(n, k);
            exact += product;
            squares += product * product;
          }
          EXPECT_NEAR(y.at(m, n), exact, 5 * std::sqrt(squares / 3) * 0x1p-8) << bits << " bits, row " << m << ", column " << n;
        }
    }
  }
}

TEST_P(BrainDotTest, ANumberThatIsNoneStaysNone) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const PackedCase w = random_packed(4, 16, 64, 64, 9);
  for (const float bad : {std::bit_cast<float>(0x7fffffffu), std::bit_cast<float>(0xff800001u), infinity}) {
    Matrix x = random_matrix(2, 64, 10), y(2, 16);
    x.at(1, 40) = bad;
    backend->gemm(x.view(), w.panels.view(), y.view());
    for (std::int64_t n = 0; n < 16; ++n) {
      EXPECT_TRUE(std::isfinite(y.at(0, n)));
      EXPECT_FALSE(std::isfinite(y.at(1, n)));
    }
  }
}

// Each sum of a leaf is one chain over pairs of tokens, the later token of a pair first.
TEST_P(BrainDotTest, AHessianLeafIsTheDefinition) {
  for (const auto& [tokens, columns] : {std::pair<std::int64_t, std::int64_t>{64, 70}, {33, 150}, {1, 20}, {514, 17}}) {
    const Matrix x = random_matrix(tokens, columns, 11, 3.0f, 2);
    const TrianglePanels layout{columns, 64};
    std::vector<std::int32_t> exponents(static_cast<std::size_t>(columns), -126);
    backend->column_exponents(x.view(), exponents);
    const SumScale scale{tokens + 5, exponents};
    TriangleBuffer<std::int64_t> sums(layout);
    backend->add_hessian_leaf(x.view(), scale, layout, sums.panels());
    backend->add_hessian_leaf(x.view(), scale, layout, sums.panels());
    const auto value = [&](std::int64_t t, std::int64_t c) {
      return rounded(std::ldexp(x.at(t, c), -exponents[static_cast<std::size_t>(c)]));
    };
    for (std::int64_t i = 0; i < columns; ++i)
      for (std::int64_t j = 0; j <= i; ++j) {
        float chain = 0;
        for (std::int64_t t = 0; t < tokens; t += 2) {
          if (t + 1 < tokens) chain = std::fma(value(t + 1, i), value(t + 1, j), chain);
          chain = std::fma(value(t, i), value(t, j), chain);
        }
        const std::int64_t expected = 2 * std::llrint(std::ldexp(static_cast<double>(chain), sum_shift(scale.tokens)));
        ASSERT_EQ(sums.panels()[j / 64][layout.index(j / 64, i, j)], expected) << tokens << " tokens, " << i << ", " << j;
      }
  }
}

QUENCH_FOR_EVERY_BACKEND(BrainDotTest);

// The instruction on numbers of any size that rounding leaves: from 2^-56 to infinity, with NaN.
TEST(BrainDot, TheInstructionIsTwoFusedMultiplyAdds) {
  const auto names = runnable_isas();
  if (std::find(names.begin(), names.end(), "avx512") == names.end()) GTEST_SKIP() << "this machine cannot run avx512";
  const KernelTable chosen = make_kernel_table("avx512");
  if (bf16_products(chosen) != kBf16Instruction) GTEST_SKIP() << bf16_products(chosen);
  KernelTable plain = chosen;
  avx512::fill_brain_dot(plain);
  CpuBackend without(plain, 1), with(chosen, 1);
  ASSERT_TRUE(without.set_products(Products::bf16) && with.set_products(Products::bf16));
  EXPECT_EQ(with.bf16_products(), kBf16Instruction);
  EXPECT_NE(without.bf16_products(), kBf16Instruction);
  std::mt19937 random(12);
  const float special[] = {0.0f, -0.0f, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                           std::numeric_limits<float>::quiet_NaN(), 0x1p-56f, -0x1.01p-56f, 0x1p-57f, 0x1.fep127f, 0x1p-130f};
  // Exponents from a narrow band, where sums cancel, to all there are; with special values now and then.
  for (const auto& [least, count, with_specials] : {std::tuple{125u, 4u, false}, {110u, 32u, false}, {60u, 130u, false}, {1u, 254u, false}, {71u, 40u, true}}) {
    const auto fill = [&](std::vector<float>& values) {
      for (float& value : values) {
        const std::uint32_t bits = static_cast<std::uint32_t>(random());
        value = std::bit_cast<float>((bits & 0x807fffffu) | (least + bits / 512 % count) << 23);
        if (with_specials && random() % 40 == 0) value = special[random() % std::size(special)];
      }
    };
    for (const std::int64_t rows : {1, 24}) {
      Matrix x(rows, 256), w(320, 256), a(rows, 320), b(rows, 320);
      fill(x.values);
      fill(w.values);
      without.gemm(x.view(), dense_panels(w).view(), a.view());
      with.gemm(x.view(), dense_panels(w).view(), b.view());
      for (std::size_t i = 0; i < a.values.size(); ++i) {
        if (std::isnan(a.values[i]))
          ASSERT_TRUE(std::isnan(b.values[i])) << i;
        else
          ASSERT_EQ(std::bit_cast<std::uint32_t>(a.values[i]), std::bit_cast<std::uint32_t>(b.values[i])) << least << ", " << i;
      }
    }
  }
}

}  // namespace
}  // namespace quench::kernels
