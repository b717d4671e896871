#include <cmath>
#include <limits>

#include "kernels/cpu/cpu_features.h"
#include "tests/kernels/backend_fixture.h"

namespace quench::kernels {
namespace {

class ElementwiseTest : public BackendTest {};

TEST_P(ElementwiseTest, ExpIsAccurateAndTheSameEverywhere) {
  if (!on_cpu()) GTEST_SKIP() << "a table of the CPU's; the GPU's exp shows in silu, softmax and attention";
  const KernelTable table = make_kernel_table(GetParam().isa), scalar = make_kernel_table("scalar");
  std::vector<float> x;
  for (int i = -120 * 256; i <= 90 * 256; ++i)
    x.push_back(static_cast<float>(i) / 256.0f + 1e-4f * static_cast<float>(i % 7));
  std::vector<float> y(x.size()), expected(x.size());
  table.exp(x.data(), static_cast<std::int64_t>(x.size()), y.data());
  scalar.exp(x.data(), static_cast<std::int64_t>(x.size()), expected.data());
  EXPECT_TRUE(same_bits(y, expected));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double value = std::exp(static_cast<double>(x[i]));
    if (x[i] < -87.33f) {
      ASSERT_EQ(y[i], 0.0f) << x[i];
    } else if (x[i] < 88.37f) {
      ASSERT_NEAR(y[i] / value, 1.0, 1.5e-7) << x[i];
    }
  }
  const float zero = 0.0f;
  float one = 0.0f;
  table.exp(&zero, 1, &one);
  EXPECT_EQ(one, 1.0f);
}

TEST_P(ElementwiseTest, StoredWeightsAreWidenedExactly) {
  // Two parts of the host's threads, and a last block of the GPU that is not full.
  constexpr std::int64_t rows = 1031, cols = 1037;
  std::vector<std::uint16_t> stored(rows * cols);
  for (std::size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<std::uint16_t>(i * 40503u >> 4);
  for (const ElementType type : {ElementType::bf16, ElementType::f16}) {
    std::vector<float> expected(stored.size());
    for (std::size_t i = 0; i < stored.size(); ++i)
      expected[i] = type == ElementType::bf16 ? bf16_to_f32(stored[i]) : f16_to_f32(stored[i]);
    // A view of the host's, and one that stays on the device.
    Matrix host(rows, cols);
    backend->convert_to_f32(stored.data(), type, host.view());
    AlignedBuffer<float> window(stored.size(), backend->memory());
    backend->convert_to_f32(stored.data(), type, MatrixView(window.data(), rows, cols));
    to_host(backend->memory(), std::span<const float>(window.data(), window.size()));
    for (std::size_t i = 0; i < stored.size(); ++i) {
      if (std::isnan(expected[i])) continue;  // of its bits only the sign and that it is none are kept
      ASSERT_EQ(host.values[i], expected[i]) << i;
      ASSERT_EQ(window[i], expected[i]) << i;
    }
  }
  const Matrix x = random_matrix(3, 50, 1);
  Matrix y(3, 50);
  backend->convert_to_f32(x.values.data(), ElementType::f32, y.view());
  EXPECT_TRUE(same_bits(y.values, x.values));
}

TEST_P(ElementwiseTest, RmsNormMatchesDoubleAndScalar) {
  for (const std::int64_t cols : {1, 40, 256, 515}) {
    const Matrix x = random_matrix(17, cols, 1, 3.0f), weight = random_matrix(1, cols, 2);
    Matrix y(17, cols), expected(17, cols);
    backend->rms_norm(x.view(), weight.values.data(), 1e-5f, y.view());
    reference->rms_norm(x.view(), weight.values.data(), 1e-5f, expected.view());
    EXPECT_TRUE(same_bits(y.values, expected.values));
    for (std::int64_t r = 0; r < 17; ++r) {
      double squares = 0;
      for (std::int64_t c = 0; c < cols; ++c) squares += static_cast<double>(x.at(r, c)) * x.at(r, c);
      const double factor = 1.0 / std::sqrt(squares / static_cast<double>(cols) + 1e-5);
      for (std::int64_t c = 0; c < cols; ++c) {
        const double value = x.at(r, c) * factor * weight.at(0, c);
        ASSERT_NEAR(y.at(r, c), value, 2e-6 * std::abs(value) + 1e-12);
      }
    }
  }
}

TEST_P(ElementwiseTest, LayerNormMatchesDoubleAndScalar) {
  for (const std::int64_t cols : {1, 40, 256, 515}) {
    Matrix x = random_matrix(17, cols, 1, 3.0f);
    for (std::int64_t c = 0; c < cols; ++c) x.at(3, c) += 100.0f;
    const Matrix weight = random_matrix(1, cols, 2), bias = random_matrix(1, cols, 3);
    Matrix y(17, cols), expected(17, cols);
    backend->layer_norm(x.view(), weight.values.data(), bias.values.data(), 1e-5f, y.view());
    reference->layer_norm(x.view(), weight.values.data(), bias.values.data(), 1e-5f, expected.view());
    EXPECT_TRUE(same_bits(y.values, expected.values));
    for (std::int64_t r = 0; r < 17; ++r) {
      double mean = 0, squares = 0;
      for (std::int64_t c = 0; c < cols; ++c) mean += x.at(r, c) / static_cast<double>(cols);
      for (std::int64_t c = 0; c < cols; ++c) squares += (x.at(r, c) - mean) * (x.at(r, c) - mean);
      const double factor = 1.0 / std::sqrt(squares / static_cast<double>(cols) + 1e-5);
      for (std::int64_t c = 0; c < cols; ++c)
        ASSERT_NEAR(y.at(r, c), (x.at(r, c) - mean) * factor * weight.at(0, c) + bias.at(0, c), r == 3 ? 2e-4 : 1e-5);
    }
    // In place.
    backend->layer_norm(x.view(), weight.values.data(), bias.values.data(), 1e-5f, x.view());
    EXPECT_TRUE(same_bits(x.values, y.values));
  }
}

TEST_P(ElementwiseTest, GeluMatchesDoubleAndScalar) {
  Matrix x(5, 515);
  for (std::size_t i = 0; i < x.values.size(); ++i) x.values[i] = -12.0f + 24.0f * static_cast<float>(i) / 2574.0f;
  x.values[0] = -1e4f;
  x.values[1] = 1e4f;
  Matrix y(5, 515), expected(5, 515);
  backend->gelu(x.view(), y.view());
  reference->gelu(x.view(), expected.view());
  EXPECT_TRUE(same_bits(y.values, expected.values));
  for (std::size_t i = 0; i < x.values.size(); ++i) {
    const double v = x.values[i], value = v / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    ASSERT_NEAR(y.values[i], value, 1e-6 * std::abs(v) * (v > 0 ? 1 : 1e-1) + 1e-7) << v;
  }
}

TEST_P(ElementwiseTest, BiasIsAddedToEveryRow) {
  const Matrix bias = random_matrix(1, 37, 1), x = random_matrix(9, 37, 2, 1.0f, 3);
  Matrix y = x;
  backend->add_bias(bias.values.data(), y.view());
  for (std::int64_t r = 0; r < 9; ++r)
    for (std::int64_t c = 0; c < 37; ++c) ASSERT_EQ(y.at(r, c), x.at(r, c) + bias.at(0, c));
}

TEST_P(ElementwiseTest, RopeRotatesHalves) {
  for (const std::int64_t dim : {8, 40, 64}) {
    const RopeTable table = rope_table(dim, 10000.0, 1.0, 50);
    const Matrix x = random_matrix(5, 3 * dim, 3);
    Matrix y = x, expected = x;
    const std::vector<std::int32_t> positions = {0, 49, 7, 7, 1};
    backend->rope(y.view(), table, positions);
    reference->rope(expected.view(), table, positions);
    EXPECT_TRUE(same_bits(y.values, expected.values));
    for (std::int64_t t = 0; t < 5; ++t) {
      for (std::int64_t h = 0; h < 3; ++h) {
        for (std::int64_t i = 0; i < dim / 2; ++i) {
          const std::size_t at =
              static_cast<std::size_t>(positions[static_cast<std::size_t>(t)] * (dim / 2) + i);
          const double c = table.cosines[at], s = table.sines[at];
          const double a = x.at(t, h * dim + i), b = x.at(t, h * dim + dim / 2 + i);
          ASSERT_NEAR(y.at(t, h * dim + i), a * c - b * s, 1e-6);
          ASSERT_NEAR(y.at(t, h * dim + dim / 2 + i), b * c + a * s, 1e-6);
        }
      }
    }
  }
}

TEST_P(ElementwiseTest, SiluMultiplyAndAdd) {
  const Matrix gate = random_matrix(9, 101, 4, 20.0f), up = random_matrix(9, 101, 5);
  Matrix y(9, 101), expected(9, 101), sum = up, sum_expected = up;
  backend->silu_multiply(gate.view(), up.view(), y.view());
  reference->silu_multiply(gate.view(), up.view(), expected.view());
  EXPECT_TRUE(same_bits(y.values, expected.values));
  for (std::size_t i = 0; i < y.values.size(); ++i) {
    const double g = gate.values[i], value = g / (1.0 + std::exp(-g)) * up.values[i];
    ASSERT_NEAR(y.values[i], value, 5e-7 * std::abs(value) + 1e-30) << g;
  }
  backend->add(gate.view(), sum.view());
  reference->add(gate.view(), sum_expected.view());
  EXPECT_TRUE(same_bits(sum.values, sum_expected.values));
  EXPECT_EQ(sum.at(3, 7), gate.at(3, 7) + up.at(3, 7));
}

TEST_P(ElementwiseTest, EmbedConvertsStoredRows) {
  std::vector<std::uint16_t> table(11 * 37);
  std::mt19937 random(6);
  for (auto& value : table) value = static_cast<std::uint16_t>(random() & 0xbbffu);
  const std::vector<std::int32_t> ids = {10, 0, 3, 10};
  for (const ElementType type : {ElementType::f16, ElementType::bf16}) {
    Matrix y(4, 37);
    backend->embed(ids, {table.data(), type, 11, 37}, y.view());
    for (std::int64_t t = 0; t < 4; ++t) {
      for (std::int64_t c = 0; c < 37; ++c) {
        const std::uint16_t stored =
            table[static_cast<std::size_t>(ids[static_cast<std::size_t>(t)] * 37 + c)];
        ASSERT_EQ(y.at(t, c), type == ElementType::f16 ? f16_to_f32(stored) : bf16_to_f32(stored));
      }
    }
  }
}

TEST_P(ElementwiseTest, LogSoftmaxMatchesDoubleAndScalar) {
  for (const std::int64_t cols : {1, 15, 515, 2048}) {
    Matrix x = random_matrix(7, cols, 7, 10.0f);
    x.at(0, 0) = -1000.0f;
    Matrix y(7, cols), expected(7, cols);
    backend->log_softmax(x.view(), y.view());
    reference->log_softmax(x.view(), expected.view());
    EXPECT_TRUE(same_bits(y.values, expected.values));
    for (std::int64_t r = 0; r < 7; ++r) {
      double max = x.at(r, 0), sum = 0;
      for (std::int64_t c = 1; c < cols; ++c) max = std::max<double>(max, x.at(r, c));
      for (std::int64_t c = 0; c < cols; ++c) sum += std::exp(x.at(r, c) - max);
      for (std::int64_t c = 0; c < cols; ++c) {
        const double value = x.at(r, c) - max - std::log(sum);
        ASSERT_NEAR(y.at(r, c), value, 1e-6 + 1.5e-7 * std::abs(value));
      }
    }
  }
}

TEST_P(ElementwiseTest, ArgmaxTakesTheLowestOfEquals) {
  Matrix x(3, 50);
  x.at(0, 49) = 2.0f;
  x.at(1, 17) = x.at(1, 33) = x.at(1, 49) = 5.0f;
  for (std::int64_t c = 0; c < 50; ++c) x.at(2, c) = -3.0f;
  std::vector<std::int32_t> best(3);
  backend->argmax(x.view(), best);
  EXPECT_EQ(best, (std::vector<std::int32_t>{49, 17, 0}));
}

TEST_P(ElementwiseTest, ColumnExponentsBoundTheColumns) {
  Matrix x = random_matrix(20, 37, 8);
  for (std::int64_t t = 0; t < 20; ++t) x.at(t, 3) = 0.0f;
  for (std::int64_t t = 0; t < 20; ++t) x.at(t, 4) = t == 7 ? -4.0f : 0.5f;
  for (std::int64_t t = 0; t < 20; ++t) x.at(t, 5) = 1e-42f;
  std::vector<std::int32_t> exponents(37, -126);
  exponents[6] = 90;
  backend->column_exponents(x.view(), exponents);
  EXPECT_EQ(exponents[3], -126);
  EXPECT_EQ(exponents[4], 3);
  EXPECT_EQ(exponents[5], -126);
  EXPECT_EQ(exponents[6], 90);
  for (std::size_t c = 7; c < 37; ++c) {
    float most = 0;
    for (std::int64_t t = 0; t < 20; ++t)
      most = std::max(most, std::abs(x.at(t, static_cast<std::int64_t>(c))));
    EXPECT_LT(most, std::ldexp(1.0, exponents[c]));
    EXPECT_GE(most, std::ldexp(1.0, exponents[c] - 1));
  }
}

QUENCH_FOR_EVERY_BACKEND(ElementwiseTest);

}  // namespace
}  // namespace quench::kernels
