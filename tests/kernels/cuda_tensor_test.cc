// The "cuda" backend where it does not have the CPU's bits: products and Hessian leaves within tolerances.h, the same
// bits from run to run, and decoding the same for a row in any batch.
#include <cmath>
#include <stdexcept>

#include "kernels/tolerances.h"
#include "tests/kernels/backend_fixture.h"

namespace quench::kernels {
namespace {

// The orchestration runs on the emulated device everywhere; tensor cores only where there are some.
class CudaTensorTest : public BackendTest {
 protected:
  void SetUp() override {
    BackendTest::SetUp();
    if (GetParam().isa.starts_with("emulated"))
      backend = make_emulated_backend(cuda::Arithmetic::tensor,
                                      {GetParam().isa.ends_with("backwards") ? ThreadOrder::backwards : ThreadOrder::forwards});
  }
};

void expect_product(const Matrix& x, const Matrix& w, const Matrix& y, double bound) {
  for (std::int64_t m = 0; m < x.rows; ++m) {
    for (std::int64_t n = 0; n < w.rows; ++n) {
      double exact = 0, size = 0;
      for (std::int64_t k = 0; k < x.cols; ++k) {
        const double product = static_cast<double>(x.at(m, k)) * w.at(n, k);
        exact += product;
        size += std::abs(product);
      }
      ASSERT_NEAR(y.at(m, n), exact, (bound + sum_error(x.cols + 64)) * size + 1e-30) << "row " << m << " column " << n;
    }
  }
}

TEST_P(CudaTensorTest, ProductsAreWithinTheBoundForEveryFormatAndBatch) {
  for (const int bits : {0, 8, 4, 3, 2}) {
    for (const std::int64_t cols : {40, 300, 515}) {
      for (const std::int64_t group : {-1, 32, 5}) {
        if (bits == 0 && group != -1) continue;
        Matrix w = random_matrix(83, cols, 21, 0.1f);
        PackedCase packed;
        WeightPanels dense;
        if (bits == 0) {
          dense = dense_panels(w);
        } else {
          packed = random_packed(bits, 83, cols, group, 22);
          dequantize(packed.panels.view(), w.view());
        }
        const WeightView view = bits == 0 ? dense.view() : packed.panels.view();
        for (const std::int64_t rows : {1, 2, 8, 13, 16, 17, 40}) {
          const Matrix x = random_matrix(rows, cols, 23);
          Matrix y(rows, 83, 3);
          for (float& value : y.values) value = std::nanf("");
          backend->gemm(x.view(), view, y.view());
          expect_product(x, w, y, rows > 16 ? kTf32ProductError : kSlicedProductError);
          if (HasFatalFailure()) FAIL() << bits << " bits, K " << cols << ", group " << group << ", rows " << rows;
        }
      }
    }
  }
}

TEST_P(CudaTensorTest, DecodingARowDoesNotDependOnItsBatch) {
  for (const int bits : {8, 4, 3, 2}) {
    const PackedCase c = random_packed(bits, 130, 640, 64, 24);
    const Matrix x = random_matrix(16, 640, 25);
    Matrix together(16, 130), alone(16, 130), pairs(16, 130);
    backend->gemm(x.view(), c.panels.view(), together.view());
    for (std::int64_t r = 0; r < 16; ++r)
      backend->gemm(x.view().row_range(r, 1), c.panels.view(), alone.view().row_range(r, 1));
    for (std::int64_t r = 0; r < 16; r += 2)
      backend->gemm(x.view().row_range(r, 2), c.panels.view(), pairs.view().row_range(r, 2));
    EXPECT_TRUE(same_bits(together.values, alone.values)) << bits;
    EXPECT_TRUE(same_bits(together.values, pairs.values)) << bits;
  }
}

TEST_P(CudaTensorTest, ProductsHaveTheSameBitsFromRunToRun) {
  const Matrix w = random_matrix(200, 700, 26, 0.1f), x = random_matrix(150, 700, 27);
  const WeightPanels panels = dense_panels(w);
  Matrix first(150, 200), again(150, 200);
  backend->gemm(x.view(), panels.view(), first.view());
  for (int run = 0; run < 3; ++run) {
    backend->gemm(x.view(), panels.view(), again.view());
    ASSERT_TRUE(same_bits(first.values, again.values)) << run;
  }
}

// Weights in a window keep their fp32 copy on the device from call to call; a change of the window must end it.
TEST_P(CudaTensorTest, ChangedWeightsInAWindowAreSeen) {
  const Matrix w = random_matrix(40, 64, 28), x = random_matrix(30, 64, 29);
  WeightPanels panels = WeightPanels::allocate(WeightFormat::f32, 40, 64, -1, backend->memory());
  Matrix y(30, 40);
  for (const float factor : {1.0f, -2.0f}) {
    Matrix changed = w;
    for (float& value : changed.values) value *= factor;
    pack_dense(changed.values.data(), ElementType::f32, panels);
    panels.to_device(backend->memory());
    for (int run = 0; run < 2; ++run) {
      backend->gemm(x.view(), panels.view(), y.view());
      expect_product(x, changed, y, kTf32ProductError);
    }
  }
}

TEST_P(CudaTensorTest, HessianLeavesAreWithinTheBoundAndAddExactly) {
  for (const std::int64_t columns : {1, 40, 131, 300}) {
    for (const std::int64_t width : {64, 128}) {
      Matrix x = random_matrix(90, columns, 30);
      for (std::int64_t t = 0; t < 90; ++t) {
        for (std::int64_t c = 0; c < columns; ++c) x.at(t, c) *= std::ldexp(1.0f, static_cast<int>(c % 19) - 9);
      }
      std::vector<std::int32_t> exponents(static_cast<std::size_t>(columns), -126);
      backend->column_exponents(x.view(), exponents);
      const SumScale scale{90, exponents};
      const TrianglePanels layout{columns, width};
      TriangleBuffer<std::int64_t> forward(layout), backward(layout);
      for (const std::int64_t begin : {0, 32, 64})
        backend->add_hessian_leaf(x.view().row_range(begin, std::min<std::int64_t>(32, 90 - begin)), scale, layout,
                                  forward.panels());
      for (const std::int64_t begin : {64, 0, 32})
        backend->add_hessian_leaf(x.view().row_range(begin, std::min<std::int64_t>(32, 90 - begin)), scale, layout,
                                  backward.panels());
      for (std::int64_t p = 0; p < layout.count(); ++p) {
        for (std::int64_t row = layout.first_column(p); row < columns; ++row) {
          for (std::int64_t col = layout.first_column(p); col < layout.first_column(p) + layout.column_count(p); ++col) {
            const std::int64_t sum = forward.panels()[p][layout.index(p, row, col)];
            ASSERT_EQ(sum, backward.panels()[p][layout.index(p, row, col)]);
            double exact = 0, size = 0;
            for (std::int64_t t = 0; t < 90; ++t) {
              const double product = static_cast<double>(x.at(t, row)) * x.at(t, col);
              exact += product;
              size += std::abs(product);
            }
            const double value = 90 * sum_to_double(sum, exponents[static_cast<std::size_t>(row)],
                                                    exponents[static_cast<std::size_t>(col)], 90);
            ASSERT_NEAR(value, exact, (kSplitLeafError + sum_error(32)) * size) << row << ", " << col;
          }
        }
      }
    }
  }
}

// Leaves given together, in another order of columns, over a strip's edge: as one by one from gathered columns.
TEST_P(CudaTensorTest, LeavesTogetherAreThoseOneByOne) {
  constexpr std::int64_t columns = 1100, tokens = 20, leaf = 6;
  const Matrix x = random_matrix(tokens, columns, 31, 1.0f);
  const TrianglePanels layout{columns, 64};
  const std::vector<std::int32_t> order = factor_order({}, columns);
  Matrix gathered(tokens, columns);
  reference->gather_columns(x.view(), order, gathered.view());
  std::vector<std::int32_t> exponents(static_cast<std::size_t>(columns), -126);
  backend->column_exponents(gathered.view(), exponents);
  const SumScale scale{tokens, exponents};
  TriangleBuffer<std::int64_t> together(layout), alone(layout);
  // A panel that is not here stays out of it.
  std::vector<std::int64_t*> panels(together.panels(), together.panels() + layout.count());
  panels[3] = nullptr;
  backend->add_hessian_leaves(x.view(), leaf, order, scale, layout, panels.data());
  for (std::int64_t row = 0; row < tokens; row += leaf)
    backend->add_hessian_leaf(gathered.view().row_range(row, std::min(leaf, tokens - row)), scale, layout, alone.panels());
  for (std::int64_t p = 0; p < layout.count(); ++p)
    for (std::int64_t row = layout.first_column(p); row < columns; ++row)
      for (std::int64_t col = layout.first_column(p); col < layout.first_column(p) + layout.column_count(p); ++col)
        ASSERT_EQ(together.panels()[p][layout.index(p, row, col)],
                  p == 3 ? 0 : alone.panels()[p][layout.index(p, row, col)]) << row << ", " << col;
}

// Of any inputs, solved or not: the damped sum is given.
TEST_P(CudaTensorTest, SolvedLossesAreTheQuadraticForms) {
  constexpr std::int64_t rows = 37, columns = 300;
  constexpr double damping = 0.25;
  const Matrix w = random_matrix(rows, columns, 32, 0.1f), x = random_matrix(400, columns, 34);
  Matrix dequantized = w;
  for (std::size_t i = 0; i < dequantized.values.size(); ++i) dequantized.values[i] += (i % 7 == 0 ? 0.01f : -0.003f);
  const TrianglePanels layout{columns, 64};
  TriangleBuffer<float> hessian(layout);
  for (std::int64_t p = 0; p < layout.count(); ++p)
    for (std::int64_t i = layout.first_column(p); i < columns; ++i)
      for (std::int64_t j = layout.first_column(p); j <= std::min(i, layout.first_column(p) + layout.column_count(p) - 1); ++j) {
        double sum = 0;
        // H in factor order: columns reversed.
        for (std::int64_t t = 0; t < x.rows; ++t) sum += static_cast<double>(x.at(t, columns - 1 - i)) * x.at(t, columns - 1 - j);
        hessian.panels()[p][layout.index(p, i, j)] = static_cast<float>(sum / static_cast<double>(x.rows));
      }
  const auto form = [&](std::int64_t row, bool difference, double added) {
    const auto at = [&](std::int64_t k) { return static_cast<double>(w.at(row, k) - (difference ? dequantized.at(row, k) : 0)); };
    double sum = 0;
    for (std::int64_t i = 0; i < columns; ++i)
      for (std::int64_t j = 0; j <= i; ++j) {
        const std::int64_t p = (columns - 1 - i) / 64, a = columns - 1 - j, b = columns - 1 - i;
        const double h = hessian.panels()[p][layout.index(p, a, b)] + (i == j ? added : 0);
        sum += (i == j ? 1 : 2) * at(i) * at(j) * h;
      }
    return sum;
  };
  std::vector<double> damped, losses(rows), energies(rows);
  for (std::int64_t row = 0; row < rows; ++row) damped.push_back(form(row, true, damping));
  const SolveOutput solved{nullptr, nullptr, nullptr, dequantized.view(), damped.data()};
  backend->solved_losses(w.view(), 16, solved, damping, layout, hessian.panels(), losses, energies);
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto r = static_cast<std::size_t>(row);
    EXPECT_NEAR(losses[r], form(row, true, 0), 1e-6 * damped[r]) << row;
    EXPECT_NEAR(energies[r], form(row, false, 0), 1e-4 * energies[r]) << row;
  }
  // A tile's rows have the same bits whatever is solved with them.
  std::vector<double> losses_alone(16), energies_alone(16);
  const SolveOutput second{nullptr, nullptr, nullptr, dequantized.view().row_range(16, 16), damped.data() + 16};
  backend->solved_losses(w.view().row_range(16, 16), 16, second, damping, layout, hessian.panels(), losses_alone, energies_alone);
  for (std::size_t r = 0; r < 16; ++r) {
    EXPECT_EQ(losses_alone[r], losses[16 + r]);
    EXPECT_EQ(energies_alone[r], energies[16 + r]);
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, CudaTensorTest,
                         ::testing::Values(BackendCase{"cuda", 1}, BackendCase{"emulated", 1},
                                           BackendCase{"emulated_backwards", 1}),
                         [](const auto& instance) { return instance.param.isa; });

// Two activations and a product in windows never touch the host's side until they are asked for.
TEST(DeviceWindows, ResultsStayOnTheDeviceUntilTheyAreFetched) {
  const auto backend = make_emulated_backend(cuda::Arithmetic::exact);
  const auto reference = make_cpu_backend({1, "scalar"});
  const Matrix x = random_matrix(5, 64, 1), w = random_matrix(33, 64, 2);
  const WeightPanels panels = dense_panels(w);
  AlignedBuffer<float> in(5 * 64, backend->memory()), out(5 * 33, backend->memory());
  const MatrixView in_view(in.data(), 5, 64), out_view(out.data(), 5, 33);
  std::copy(x.values.begin(), x.values.end(), in.data());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = -1.0f;
  to_device(backend->memory(), in_view);
  backend->gemm(in_view, panels.view(), out_view);
  backend->add(out_view, out_view);
  EXPECT_EQ(out[7], -1.0f);
  to_host(backend->memory(), out_view.row_range(1, 4));
  EXPECT_EQ(out[7], -1.0f) << "row 0 was not asked for";
  Matrix expected(5, 33);
  reference->gemm(x.view(), panels.view(), expected.view());
  reference->add(expected.view(), expected.view());
  for (std::int64_t r = 1; r < 5; ++r) {
    for (std::int64_t c = 0; c < 33; ++c) ASSERT_EQ(out_view.row(r)[c], expected.at(r, c));
  }
}

TEST(DeviceWindows, TooLittleMemoryNamesTheBytes) {
  const auto backend = make_emulated_backend(cuda::Arithmetic::exact, {.bytes_max = 1 << 20});
  try {
    const AlignedBuffer<float> buffer(1 << 20, backend->memory());
    FAIL() << "4 MiB were taken of 1 MiB";
  } catch (const DeviceMemoryError& error) {
    EXPECT_NE(std::string(error.what()).find("4194304 bytes"), std::string::npos) << error.what();
  }
  // A call that needs more than there is throws too, and the backend's own memory stays whole.
  const Matrix x = random_matrix(600, 2000, 3);
  Matrix y(600, 2000);
  EXPECT_THROW(backend->add(x.view(), y.view()), DeviceMemoryError);
}

// Every kernel with the threads of a block forwards and backwards: a phase that reads what another thread writes in it
// gives two results.
TEST(EmulatedDevice, TheOrderOfThreadsDoesNotMatter) {
  const auto digest_of = [](ThreadOrder order) {
    const auto backend = make_emulated_backend(cuda::Arithmetic::exact, {.order = order});
    std::vector<float> all;
    const auto keep = [&](const auto& values) { all.insert(all.end(), values.begin(), values.end()); };
    constexpr std::int64_t rows = 70, cols = 200;
    const Matrix x = random_matrix(rows, cols, 1), w = random_matrix(rows, cols, 2, 0.05f), norm = random_matrix(1, cols, 3);
    const WeightPanels panels = dense_panels(w);
    for (const std::int64_t count : {std::int64_t{3}, std::int64_t{20}, rows}) {
      Matrix y(count, rows);
      backend->gemm(x.view().row_range(0, count), panels.view(), y.view());
      keep(y.values);
    }
    Matrix y = x;
    backend->rms_norm(y.view(), norm.values.data(), 1e-5f, y.view());
    backend->silu_multiply(y.view(), x.view(), y.view());
    backend->log_softmax(y.view(), y.view());
    backend->rope(y.view(), rope_table(40, 10000.0, 1.0, 80), std::vector<std::int32_t>(rows, 7));
    keep(y.values);
    std::vector<std::int32_t> best(rows), exponents(cols, -126);
    backend->argmax(y.view(), best);
    keep(best);
    KvCache cache(1, 40, rows);
    const KvSegment segment{&cache.view(), 0, rows};
    backend->append_kv(x.view().col_range(0, 40), x.view().col_range(40, 40), {&segment, 1});
    backend->attention(x.view(), {&segment, 1}, 0.2f, y.view());
    keep(y.values);
    const TrianglePanels layout{cols, 64};
    TriangleBuffer<std::int64_t> sums(layout);
    TriangleBuffer<float> h(layout), l(layout);
    std::vector<float> pivots(cols);
    backend->column_exponents(x.view(), exponents);
    const SumScale scale{rows, exponents};
    backend->add_hessian_leaf(x.view(), scale, layout, sums.panels());
    for (std::int64_t p = 0; p < layout.count(); ++p) {
      backend->build_factor_panel(layout, p, sums.panels(), scale, {}, 0.0, h.panels()[p]);
      backend->build_factor_panel(layout, p, sums.panels(), scale, factor_order({}, cols), 0.1, l.panels()[p]);
    }
    EXPECT_EQ(factor_triangle(*backend, layout, l.panels(), pivots.data()), -1);
    keep(pivots);
    std::vector<std::uint8_t> codes(rows * cols), zeros(rows * 4);
    std::vector<std::uint16_t> scales(zeros.size());
    std::vector<double> losses(rows), top(rows), bottom(rows);
    SolveOutput out{codes.data(), scales.data(), zeros.data(), y.view(), losses.data()};
    const GridSpec grid{3, 50, GridKind::asymmetric, ScaleRule::search};
    backend->solve_gptq(w.view(), {layout, l.panels(), pivots.data()}, grid, GroupRule::updated, out);
    backend->quadratic_losses(w.view(), y.view(), layout, h.panels(), top, bottom);
    keep(codes), keep(scales), keep(zeros), keep(losses), keep(y.values), keep(top), keep(bottom);
    out.losses = nullptr;
    backend->round_to_nearest(w.view(), grid, out);
    keep(codes), keep(scales), keep(y.values);
    return all;
  };
  EXPECT_TRUE(same_bits(digest_of(ThreadOrder::forwards), digest_of(ThreadOrder::backwards)));
}

TEST(CudaBackend, WithoutAGpuItIsAnErrorThatSaysWhy) {
  if (cuda_device_count() > 0) GTEST_SKIP() << "there is a GPU here";
  try {
    make_cuda_backend({});
    FAIL() << "a CUDA backend without a GPU";
  } catch (const DeviceError& error) {
    const std::string text = error.what();
    EXPECT_TRUE(text.find("no GPU") != std::string::npos || text.find("driver") != std::string::npos) << text;
  }
}

}  // namespace
}  // namespace quench::kernels
