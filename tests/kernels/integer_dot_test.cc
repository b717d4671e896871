#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/cpu_features.h"
#include "tests/kernels/backend_fixture.h"

namespace quench::kernels {
namespace {

class IntegerDotTest : public BackendTest {};

// The definition, written down: round half to even, cut, whole numbers, one rounding of the sum, one of the two scales
// together and one of their product.
Matrix reference_product(const Matrix& x, float fixed_scale, const PackedCase& w) {
  Matrix y(x.rows, w.panels.rows);
  for (std::int64_t m = 0; m < x.rows; ++m) {
    float scale = fixed_scale;
    if (scale == 0) {
      for (std::int64_t k = 0; k < x.cols; ++k) scale = std::max(scale, std::fabs(x.at(m, k)));
      scale /= 127.0f;
    }
    std::vector<std::int64_t> steps(static_cast<std::size_t>(x.cols), 0);
    for (std::int64_t k = 0; k < x.cols && scale > 0; ++k)
      steps[static_cast<std::size_t>(k)] = std::llrint(std::clamp(x.at(m, k) / scale, -127.0f, 127.0f));
    for (std::int64_t n = 0; n < y.cols; ++n) {
      std::int64_t sum = 0;
      for (std::int64_t k = 0; k < x.cols; ++k)
        sum += steps[static_cast<std::size_t>(k)] *
               (w.codes[static_cast<std::size_t>(n * x.cols + k)] - std::int64_t{w.zeros[static_cast<std::size_t>(n)]});
      y.at(m, n) = static_cast<float>(sum) * (scale * f16_to_f32(w.scales[static_cast<std::size_t>(n)]));
    }
  }
  return y;
}

struct Shape {
  std::int64_t m, n, k;
};
constexpr Shape kShapes[] = {{1, 515, 40}, {1, 16, 3},    {17, 515, 40}, {33, 35, 301}, {12, 16, 1},  {13, 1, 257},
                             {2, 64, 512}, {500, 33, 22}, {7, 40, 300},  {8, 160, 30},  {23, 16, 64}, {1, 200, 4099}};

TEST_P(IntegerDotTest, IsTheDefinitionForEveryShape) {
  for (const Shape s : kShapes) {
    const Matrix x = random_matrix(s.m, s.k, 1, 1.0f, 3);
    const PackedCase w = random_packed(8, s.n, s.k, -1, 2);
    for (const float scale : {0.0f, 0.01f}) {
      Matrix y(s.m, s.n, 5);
      backend->integer_gemm(x.view(), scale, w.panels.view(), y.view());
      const Matrix expected = reference_product(x, scale, w);
      for (std::int64_t m = 0; m < s.m; ++m)
        for (std::int64_t n = 0; n < s.n; ++n)
          ASSERT_EQ(y.at(m, n), expected.at(m, n)) << s.m << " x " << s.n << " x " << s.k << ", row " << m << ", column " << n;
    }
  }
}

TEST_P(IntegerDotTest, ARowDoesNotDependOnItsBatch) {
  const Matrix x = random_matrix(31, 200, 3);
  const PackedCase w = random_packed(8, 90, 200, -1, 4);
  Matrix together(31, 90), alone(31, 90);
  backend->integer_gemm(x.view(), 0, w.panels.view(), together.view());
  for (std::int64_t row = 0; row < 31; ++row)
    backend->integer_gemm(x.view().row_range(row, 1), 0, w.panels.view(), alone.view().row_range(row, 1));
  EXPECT_TRUE(same_bits(together.values, alone.values));
}

// The largest sums there are do not overflow, and rows of zeros, of one value and of numbers too small for a scale have
// the results they should.
TEST_P(IntegerDotTest, HoldsAtItsLimits) {
  constexpr std::int64_t columns = 1 << 17;
  PackedCase w;
  w.codes.assign(2 * columns, 255);
  std::fill_n(w.codes.begin() + columns, columns, std::uint8_t{1});
  w.scales = {0x3c00, 0x3c00};
  w.zeros = {128, 128};
  w.panels = WeightPanels::allocate(WeightFormat::q8, 2, columns);
  pack_codes(w.codes.data(), w.scales.data(), w.zeros.data(), w.panels);
  Matrix x(3, columns), y(3, 2);
  std::fill_n(x.values.begin(), columns, 127.0f);
  std::fill_n(x.values.begin() + columns, columns, -127.0f);
  x.at(2, 5) = std::numeric_limits<float>::denorm_min();
  backend->integer_gemm(x.view(), 0, w.panels.view(), y.view());
  const float most = 127.0f * 127.0f * columns;
  EXPECT_EQ(y.values, (std::vector<float>{most, -most, -most, most, 0, 0}));
}

// Two forms of one instruction set: with AVX512-VNNI, where the machine has it, and without.
class Vnni : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto names = runnable_isas();
    if (std::find(names.begin(), names.end(), "avx512") == names.end()) GTEST_SKIP() << "this machine cannot run avx512";
    with_ = without_ = make_kernel_table("avx512");
    avx512::fill_integer_dot(without_);
    if (with_.integer_block == without_.integer_block) GTEST_SKIP() << "this machine has no AVX512-VNNI";
  }
  KernelTable with_, without_;
};

TEST_F(Vnni, GivesTheSameProducts) {
  CpuBackend without(without_, 2), with(with_, 2);
  for (const Shape s : kShapes) {
    const Matrix x = random_matrix(s.m, s.k, 5);
    const PackedCase w = random_packed(8, s.n, s.k, -1, 6);
    Matrix a(s.m, s.n), b(s.m, s.n);
    without.integer_gemm(x.view(), 0, w.panels.view(), a.view());
    with.integer_gemm(x.view(), 0, w.panels.view(), b.view());
    EXPECT_TRUE(same_bits(a.values, b.values)) << s.m << " x " << s.n << " x " << s.k;
  }
}

// Whole numbers at their limits too: 256 products of two of kPairMax.
TEST_F(Vnni, GivesTheSameEnergies) {
  constexpr std::int64_t pairs = 128, columns = 37, panels = 2, stride = pairs * 16;
  std::mt19937 random(7);
  const auto pair_of_numbers = [&] {
    const auto number = [&] {
      const auto most = static_cast<std::uint32_t>(kPairMax);
      return random() % 8 == 0 ? kPairMax : static_cast<std::int32_t>(random() % (2 * most + 1)) - kPairMax;
    };
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(number()) << 16 | (static_cast<std::uint32_t>(number()) & 0xffff));
  };
  std::vector<std::int32_t> rows(pairs * columns), vectors(panels * stride);
  for (std::int32_t& word : rows) word = pair_of_numbers();
  for (std::int32_t& word : vectors) word = pair_of_numbers();
  for (std::int64_t k = 0; k < pairs; ++k) rows[static_cast<std::size_t>(k * micro_panel_rows(columns, with_.gemm_rows))] = kPairMax * 0x10001;
  for (std::int64_t k = 0; k < pairs; ++k) vectors[static_cast<std::size_t>(k * 16)] = kPairMax * 0x10001;
  std::vector<double> a(panels * 16), b(panels * 16);
  const auto product = [&](std::vector<double>& sums) {
    return CorrelationProducts{rows.data(), pairs, columns, vectors.data(), vectors.data(), stride, panels, sums.data()};
  };
  without_.correlation_products(product(a));
  with_.correlation_products(product(b));
  EXPECT_TRUE(same_bits(a, b));
  EXPECT_NE(a[0], 0.0);
}

QUENCH_FOR_EVERY_BACKEND(IntegerDotTest);

}  // namespace
}  // namespace quench::kernels
