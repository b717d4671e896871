#include <cmath>

#include "tests/kernels/backend_fixture.h"

namespace quench::kernels {
namespace {

class GemmTest : public BackendTest {};

// One FMA chain over k from 0: the definition, written down.
Matrix chain_product(const Matrix& x, const Matrix& w) {
  Matrix y(x.rows, w.rows);
  for (std::int64_t m = 0; m < x.rows; ++m) {
    for (std::int64_t n = 0; n < w.rows; ++n) {
      float sum = 0.0f;
      for (std::int64_t k = 0; k < x.cols; ++k) sum = std::fma(x.at(m, k), w.at(n, k), sum);
      y.at(m, n) = sum;
    }
  }
  return y;
}

TEST_P(GemmTest, IsOneChainOverKForEveryShape) {
  struct Shape {
    std::int64_t m, n, k;
  };
  for (const Shape s : {Shape{1, 515, 40}, Shape{17, 515, 40}, Shape{33, 35, 300}, Shape{12, 16, 1},
                        Shape{13, 1, 257}, Shape{2, 64, 512}, Shape{500, 33, 20}, Shape{7, 40, 300}, Shape{8, 40, 30},
                        Shape{11, 40, 30}, Shape{23, 16, 64}}) {
    const Matrix x = random_matrix(s.m, s.k, 1), w = random_matrix(s.n, s.k, 2, 0.1f);
    const WeightPanels panels = dense_panels(w);
    Matrix y(s.m, s.n);
    backend->gemm(x.view(), panels.view(), y.view());
    EXPECT_TRUE(same_bits(y.values, chain_product(x, w).values)) << s.m << " x " << s.n << " x " << s.k;
  }
}

// Sums that a double would carry to the midpoint of two floats, and products below the normal range: the two
// places where rounding twice is not rounding once.
TEST_P(GemmTest, RoundsEachStepOnce) {
  Matrix x(2, 2), w(40, 2);
  x.at(0, 0) = x.at(1, 0) = 1.0f;
  x.at(0, 1) = 1.0f - 0x1p-23f;
  x.at(1, 1) = 1.0f + 0x1p-12f;
  for (std::int64_t n = 0; n < 40; ++n) {
    w.at(n, 0) = n % 3 == 0 ? 1.0f + 0x1p-23f : 1.0f;
    w.at(n, 1) = n % 2 == 0 ? 0x1p-24f * (1.0f + 0x1p-23f) : 0x1p-24f * (1.0f - 0x1p-12f + 0x1p-24f);
  }
  Matrix y(2, 40);
  backend->gemm(x.view(), dense_panels(w).view(), y.view());
  EXPECT_TRUE(same_bits(y.values, chain_product(x, w).values));
  // (1 + 2^-23) + (2^-24 - 2^-70) lies below the midpoint, 1 + (2^-24 + 2^-60) above it.
  EXPECT_EQ(y.at(0, 0), 1.0f + 0x1p-23f);
  EXPECT_EQ(y.at(1, 1), 1.0f + 0x1p-23f);
  const Matrix tiny_x = random_matrix(7, 50, 1, 1e-22f), tiny_w = random_matrix(35, 50, 2, 1e-22f);
  Matrix tiny(7, 35);
  backend->gemm(tiny_x.view(), dense_panels(tiny_w).view(), tiny.view());
  EXPECT_TRUE(same_bits(tiny.values, chain_product(tiny_x, tiny_w).values));
}

TEST_P(GemmTest, LeavesWhatIsBetweenTheRowsAlone) {
  const Matrix x = random_matrix(15, 70, 1, 1.0f, 3), w = random_matrix(37, 70, 2);
  const WeightPanels panels = dense_panels(w);
  Matrix y(15, 37, 5);
  for (float& value : y.values) value = 12345.0f;
  backend->gemm(x.view(), panels.view(), y.view());
  const Matrix expected = chain_product(x, w);
  for (std::int64_t r = 0; r < 15; ++r) {
    for (std::int64_t c = 0; c < 37; ++c) ASSERT_EQ(y.at(r, c), expected.at(r, c));
    for (std::int64_t c = 37; c < 42; ++c) ASSERT_EQ(y.at(r, c), 12345.0f);
  }
}

TEST_P(GemmTest, ARowDoesNotDependOnItsBatch) {
  const Matrix w = random_matrix(130, 517, 3, 0.1f);
  const WeightPanels panels = dense_panels(w);
  const Matrix x = random_matrix(33, 517, 4);
  Matrix together(33, 130), alone(33, 130);
  backend->gemm(x.view(), panels.view(), together.view());
  for (std::int64_t r = 0; r < 33; ++r) {
    backend->gemm(x.view().row_range(r, 1), panels.view(), alone.view().row_range(r, 1));
  }
  EXPECT_TRUE(same_bits(together.values, alone.values));
}

TEST_P(GemmTest, HalfAndBrainPanelsHaveTheBitsOfTheirExactValues) {
  for (const ElementType type : {ElementType::f16, ElementType::bf16}) {
    const WeightFormat format = type == ElementType::f16 ? WeightFormat::f16 : WeightFormat::bf16;
    std::vector<std::uint16_t> stored(67 * 41);
    std::mt19937 random(5);
    Matrix w(67, 41);
    for (std::size_t i = 0; i < stored.size(); ++i) {
      // Any finite pattern around 1, signs and subnormals included.
      stored[i] = static_cast<std::uint16_t>(random() & (type == ElementType::f16 ? 0xbbffu : 0xbfffu));
      w.values[i] = type == ElementType::f16 ? f16_to_f32(stored[i]) : bf16_to_f32(stored[i]);
    }
    WeightPanels panels = WeightPanels::allocate(format, 67, 41);
    pack_dense(stored.data(), type, panels);
    for (const std::int64_t rows : {1, 5, 33}) {
      const Matrix x = random_matrix(rows, 41, 6);
      Matrix y(rows, 67);
      backend->gemm(x.view(), panels.view(), y.view());
      EXPECT_TRUE(same_bits(y.values, chain_product(x, w).values))
          << static_cast<int>(type) << " rows " << rows;
    }
  }
}

TEST_P(GemmTest, PackedPanelsHaveTheBitsOfTheirDequantizedValues) {
  for (const int bits : {8, 4, 3, 2}) {
    for (const std::int64_t group : {-1, 1, 5, 32, 100, 128}) {
      for (const std::int64_t cols : {40, 300}) {
        const PackedCase c = random_packed(bits, 83, cols, group, static_cast<std::uint32_t>(bits));
        Matrix w(83, cols);
        dequantize(c.panels.view(), w.view());
        for (const std::int64_t rows : {1, 2, 17}) {
          const Matrix x = random_matrix(rows, cols, 8);
          Matrix y(rows, 83);
          backend->gemm(x.view(), c.panels.view(), y.view());
          ASSERT_TRUE(same_bits(y.values, chain_product(x, w).values))
              << bits << " bits, group " << group << ", K " << cols << ", rows " << rows;
        }
      }
    }
  }
}

TEST(Dequantize, IsCodeMinusZeroTimesScale) {
  const PackedCase c = random_packed(4, 5, 70, 32, 1);
  Matrix w(5, 70);
  dequantize(c.panels.view(), w.view());
  for (std::int64_t r = 0; r < 5; ++r) {
    for (std::int64_t k = 0; k < 70; ++k) {
      const std::size_t g = static_cast<std::size_t>(r * 3 + k / 32);
      const float difference =
          static_cast<float>(static_cast<int>(c.codes[static_cast<std::size_t>(r * 70 + k)]) - c.zeros[g]);
      ASSERT_EQ(w.at(r, k), difference * f16_to_f32(c.scales[g]));
    }
  }
}

TEST_P(GemmTest, GathersColumnsByThePermutation) {
  const Matrix x = random_matrix(3, 50, 9);
  std::vector<std::int32_t> order(50);
  for (std::size_t i = 0; i < 50; ++i) order[i] = static_cast<std::int32_t>(i * 7 % 50);
  Matrix y(3, 50);
  backend->gather_columns(x.view(), order, y.view());
  for (std::int64_t r = 0; r < 3; ++r) {
    for (std::int64_t k = 0; k < 50; ++k) ASSERT_EQ(y.at(r, k), x.at(r, order[static_cast<std::size_t>(k)]));
  }
}

QUENCH_FOR_EVERY_BACKEND(GemmTest);

}  // namespace
}  // namespace quench::kernels
