#include "kernels/hessian.h"

#include <cmath>

#include "tests/kernels/backend_fixture.h"

namespace quench::kernels {
namespace {

class HessianTest : public BackendTest {};

TEST(TrianglePanels, OffsetsAreTheSumsOfWhatComesBefore) {
  for (const std::int64_t columns : {1, 64, 65, 300, 515}) {
    const TrianglePanels layout{columns, 64};
    std::int64_t offset = 0;
    for (std::int64_t p = 0; p < layout.count(); ++p) {
      EXPECT_EQ(layout.offset(p), offset);
      offset += layout.elements(p);
    }
    EXPECT_EQ(layout.total_elements(), offset);
  }
}

struct Sums {
  std::vector<std::int32_t> exponents;
  TriangleBuffer<std::int64_t> sums;
  SumScale scale;
};

// Adds leaves of X in the given order.
Sums sum_leaves(Backend& backend, const Matrix& x, std::int64_t width,
                const std::vector<std::int64_t>& leaf_begins, std::int64_t leaf) {
  Sums s;
  s.exponents.assign(static_cast<std::size_t>(x.cols), -126);
  backend.column_exponents(x.view(), s.exponents);
  s.sums = TriangleBuffer<std::int64_t>(TrianglePanels{x.cols, width});
  s.scale = {x.rows, s.exponents};
  for (const std::int64_t begin : leaf_begins) {
    backend.add_hessian_leaf(x.view().row_range(begin, std::min(leaf, x.rows - begin)), s.scale,
                             s.sums.layout(), s.sums.panels());
  }
  return s;
}

Matrix activations(std::int64_t tokens, std::int64_t columns) {
  Matrix x = random_matrix(tokens, columns, 11);
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t c = 0; c < columns; ++c) x.at(t, c) *= std::ldexp(1.0f, static_cast<int>(c % 19) - 9);
    if (columns > 5) x.at(t, 5) = 0.0f;
  }
  return x;
}

TEST_P(HessianTest, SumsAreExactlyTheSameInAnyOrderOnAnyBackend) {
  for (const std::int64_t columns : {1, 40, 131, 200}) {
    for (const std::int64_t width : {64, 128}) {
      const Matrix x = activations(90, columns);
      const Sums forward = sum_leaves(*backend, x, width, {0, 32, 64}, 32);
      const Sums backward = sum_leaves(*reference, x, width, {64, 0, 32}, 32);
      ASSERT_EQ(forward.exponents, backward.exponents);
      for (std::int64_t p = 0; p < forward.sums.layout().count(); ++p) {
        const auto& layout = forward.sums.layout();
        for (std::int64_t row = layout.first_column(p); row < columns; ++row) {
          for (std::int64_t col = layout.first_column(p);
               col < layout.first_column(p) + layout.column_count(p); ++col) {
            const std::int64_t a = forward.sums.panels()[p][layout.index(p, row, col)];
            ASSERT_EQ(a, backward.sums.panels()[p][layout.index(p, row, col)]) << row << ", " << col;
            double expected = 0, size = 0;
            for (std::int64_t t = 0; t < 90; ++t) {
              const double product = static_cast<double>(x.at(t, row)) * x.at(t, col);
              expected += product;
              size += std::abs(product);
            }
            const double value = sum_to_double(a, forward.exponents[static_cast<std::size_t>(row)],
                                               forward.exponents[static_cast<std::size_t>(col)], 90) *
                                 90;
            // fp32 chains of 32 tokens: at most 32 half units of the size of what is summed.
            ASSERT_NEAR(value, expected, 2e-6 * size);
          }
        }
      }
    }
  }
}

TEST_P(HessianTest, TheLargestPossibleSumDoesNotOverflow) {
  Matrix x(64, 3);
  for (float& value : x.values) value = std::nextafter(1024.0f, 0.0f);
  const Sums s = sum_leaves(*backend, x, 64, {0, 16, 32, 48}, 16);
  EXPECT_GT(s.sums.data()[0], std::int64_t{1} << 61);
  EXPECT_NEAR(sum_to_double(s.sums.data()[0], s.exponents[0], s.exponents[0], 64), 1048576.0, 1.0);
}

// A leaf of more tokens than a block of them, and columns that are no multiple of anything.
TEST_P(HessianTest, ALeafIsOneChainOverAllItsTokens) {
  const Matrix x = random_matrix(512, 203, 12);
  const Sums s = sum_leaves(*backend, x, 64, {0}, 512);
  const TrianglePanels& layout = s.sums.layout();
  for (std::int64_t row = 0; row < 203; row += 7)
    for (std::int64_t col = 0; col <= row; col += 3) {
      const auto factor = [&](std::int64_t c) { return std::ldexp(1.0f, -s.exponents[static_cast<std::size_t>(c)]); };
      float chain = 0;
      for (std::int64_t t = 0; t < 512; ++t)
        chain = std::fma(x.at(t, row) * factor(row), x.at(t, col) * factor(col), chain);
      const double unit = std::ldexp(1.0, sum_shift(512));
      ASSERT_EQ(s.sums.panels()[col / 64][layout.index(col / 64, row, col)], std::llrint(chain * unit)) << row << ", " << col;
    }
}

TEST_P(HessianTest, RoundsToTheNearestWholeNumberTiesToEven) {
  // The first token gives both columns the exponent 0; the products of the others are a few halves of the unit,
  // of both signs, or so large that their own unit is above it.
  constexpr std::int64_t tokens = 64, columns = 33;
  Matrix x(tokens, columns);
  std::mt19937 random(13);
  std::uniform_int_distribution<int> odd(-40, 40), place(-29, -10);
  for (std::int64_t c = 0; c < columns; ++c) x.at(0, c) = 0.75f;
  for (std::int64_t t = 1; t < tokens; ++t)
    for (std::int64_t c = 0; c < columns; ++c)
      x.at(t, c) = std::ldexp(static_cast<float>(odd(random)), t % 2 == 1 ? (c % 2 == 0 ? -29 : -28) : place(random));
  const Sums base = sum_leaves(*backend, x, 64, {}, 1);
  const TrianglePanels& layout = base.sums.layout();
  const double unit = std::ldexp(1.0, sum_shift(tokens));
  std::int64_t ties = 0;
  for (std::int64_t t = 1; t < tokens; ++t) {
    const Sums s = sum_leaves(*backend, x, 64, {t}, 1);
    for (std::int64_t row = 0; row < columns; ++row)
      for (std::int64_t col = 0; col <= row; ++col) {
        const double value = static_cast<double>(x.at(t, row) * x.at(t, col)) * unit;
        ties += std::abs(value - std::trunc(value)) == 0.5 ? 1 : 0;
        ASSERT_EQ(s.sums.panels()[0][layout.index(0, row, col)], std::llrint(value)) << value;
      }
  }
  EXPECT_GT(ties, 100);
}

TEST_P(HessianTest, PanelsThatAreNotHeldAreLeftOut) {
  const Matrix x = activations(20, 150);
  const Sums all = sum_leaves(*backend, x, 64, {0}, 20);
  TriangleBuffer<std::int64_t> own(all.sums.layout());
  std::vector<std::int64_t*> some = {nullptr, own.panels()[1], nullptr};
  backend->add_hessian_leaf(x.view(), all.scale, all.sums.layout(), some.data());
  const auto& layout = all.sums.layout();
  for (std::int64_t i = 0; i < layout.elements(1); ++i)
    ASSERT_EQ(own.panels()[1][i], all.sums.panels()[1][i]);
  for (std::int64_t i = 0; i < layout.elements(0); ++i) ASSERT_EQ(own.panels()[0][i], 0);
}

struct Factor {
  TriangleBuffer<float> h;  // what was factored
  TriangleBuffer<float> l;
  std::vector<float> pivots;
  std::int64_t failed = -1;
};
Factor factor(Backend& backend, const Sums& s, const std::vector<std::int32_t>& order, double add) {
  const TrianglePanels layout = s.sums.layout();
  Factor f{TriangleBuffer<float>(layout), TriangleBuffer<float>(layout), {}, -1};
  f.pivots.assign(static_cast<std::size_t>(layout.columns), 0.0f);
  for (std::int64_t p = 0; p < layout.count(); ++p) {
    backend.build_factor_panel(layout, p, s.sums.panels(), s.scale, order, add, f.h.panels()[p]);
    std::copy_n(f.h.panels()[p], layout.elements(p), f.l.panels()[p]);
  }
  f.failed = factor_triangle(backend, layout, f.l.panels(), f.pivots.data());
  return f;
}

TEST_P(HessianTest, LdltGivesTheHessianBackAndTheSameBitsEverywhere) {
  for (const std::int64_t columns : {1, 40, 200, 331}) {
    Matrix x = random_matrix(600, columns, 3);
    for (std::int64_t t = 0; t < 600; ++t) {
      for (std::int64_t c = 1; c < columns; ++c) x.at(t, c) += 0.5f * x.at(t, c - 1);
    }
    const Sums s = sum_leaves(*backend, x, 64, {0, 256, 512}, 256);
    std::vector<double> diagonal(static_cast<std::size_t>(columns));
    hessian_diagonal(s.sums.layout(), s.sums.panels(), s.scale, diagonal);
    const std::vector<std::int32_t> processing = activation_order(diagonal);
    const std::vector<std::int32_t> order = factor_order(processing, columns);
    ASSERT_EQ(order.back(), processing.front());
    const double add = damping(diagonal, 0.01);
    const Factor f = factor(*backend, s, order, add), g = factor(*reference, s, order, add);
    ASSERT_EQ(f.failed, -1);
    EXPECT_TRUE(same_bits(f.pivots, g.pivots));
    const TrianglePanels layout = s.sums.layout();
    const auto l = [&](const TriangleBuffer<float>& b, std::int64_t row, std::int64_t col) {
      const std::int64_t p = col / layout.width;
      return b.panels()[p][layout.index(p, row, col)];
    };
    for (std::int64_t i = 0; i < columns; ++i) {
      for (std::int64_t j = 0; j <= i; ++j) {
        if (j < i) {
          ASSERT_EQ(l(f.l, i, j), l(g.l, i, j)) << i << ", " << j;
        }
        double value = 0;
        for (std::int64_t k = 0; k <= j; ++k) {
          const double a = k == i ? 1.0 : l(f.l, i, k), b = k == j ? 1.0 : l(f.l, j, k);
          value += a * f.pivots[static_cast<std::size_t>(k)] * b;
        }
        ASSERT_NEAR(value, l(f.h, i, j), 2e-5 * diagonal[0]) << i << ", " << j;
      }
      // The diagonal and one other element come from the right columns.
      const std::size_t original = static_cast<std::size_t>(order[static_cast<std::size_t>(i)]);
      ASSERT_NEAR(l(f.h, i, i), diagonal[original] + add, 1e-6 * diagonal[original]);
    }
  }
}

TEST_P(HessianTest, UpdatingOnePanelAtATimeIsUpdatingAll) {
  const Sums s = sum_leaves(*backend, random_matrix(400, 250, 9), 64, {0, 200}, 200);
  const TrianglePanels layout = s.sums.layout();
  const Factor whole = factor(*backend, s, {}, 0.01);
  TriangleBuffer<float> l(layout);
  std::vector<float> pivots(250);
  std::copy_n(whole.h.data(), layout.total_elements(), l.data());
  for (std::int64_t p = 0; p < layout.count(); ++p) {
    ASSERT_EQ(backend->factor_panel(layout, p, l.panels()[p], pivots.data()), -1);
    for (std::int64_t q = layout.count() - 1; q > p; --q) {
      std::vector<float*> one(static_cast<std::size_t>(layout.count()), nullptr);
      one[static_cast<std::size_t>(q)] = l.panels()[q];
      backend->update_panels(layout, p, l.panels()[p], pivots.data(), one.data());
    }
  }
  EXPECT_TRUE(same_bits(pivots, whole.pivots));
  for (std::int64_t p = 0; p < layout.count(); ++p) {
    for (std::int64_t row = layout.first_column(p) + 1; row < 250; ++row) {
      for (std::int64_t col = layout.first_column(p); col < std::min(row, layout.first_column(p) + 64);
           ++col) {
        if (col >= 250) break;
        ASSERT_EQ(l.panels()[p][layout.index(p, row, col)], whole.l.panels()[p][layout.index(p, row, col)]);
      }
    }
  }
}

TEST_P(HessianTest, UpdatingBySeveralPanelsIsUpdatingByEach) {
  const std::int64_t columns = 64 * 5 + 13;
  const Matrix x = random_matrix(400, columns, 31);
  const Sums s = sum_leaves(*backend, x, 64, {0, 200}, 200);
  const TrianglePanels& layout = s.sums.layout();
  Factor together = factor(*backend, s, {}, 0.1);
  ASSERT_EQ(together.failed, -1);
  // One panel after the other, each to all behind it.
  TriangleBuffer<float> each(layout);
  std::vector<float> pivots(static_cast<std::size_t>(columns));
  std::copy_n(together.h.data(), together.h.size(), each.data());
  for (std::int64_t p = 0; p < layout.count(); ++p) {
    ASSERT_EQ(backend->factor_panel(layout, p, each.panels()[p], pivots.data()), -1);
    backend->update_panels(layout, p, each.panels()[p], pivots.data(), each.panels());
  }
  EXPECT_TRUE(same_bits(pivots, together.pivots));
  for (std::int64_t p = 0; p < layout.count(); ++p)
    for (std::int64_t row = layout.first_column(p); row < columns; ++row)
      for (std::int64_t col = layout.first_column(p); col < std::min(row, layout.first_column(p) + 64); ++col)
        ASSERT_EQ(each.panels()[p][layout.index(p, row, col)], together.l.panels()[p][layout.index(p, row, col)]);
}

TEST_P(HessianTest, APivotThatIsNotPositiveNamesItsColumn) {
  const Sums s = sum_leaves(*backend, random_matrix(300, 100, 5), 64, {0}, 300);
  const TrianglePanels layout = s.sums.layout();
  for (const std::int64_t column : {0, 3, 70}) {
    for (const float value : {-1.0f, 0.0f, std::nanf("")}) {
      Factor f = factor(*backend, s, {}, 0.0);
      ASSERT_EQ(f.failed, -1);
      f.h.panels()[column / 64][layout.index(column / 64, column, column)] = value;
      EXPECT_EQ(factor_triangle(*backend, layout, f.h.panels(), f.pivots.data()), column);
    }
  }
}

// A one in its place once counted as loss: the printed loss of a layer with five dead inputs was 6 % too
// high.
TEST_P(HessianTest, ADeadColumnIsZeroInTheHessian) {
  const Matrix x = activations(300, 40);
  const Sums s = sum_leaves(*backend, x, 64, {0}, 300);
  EXPECT_EQ(factor(*backend, s, {}, 0.0).failed, 5);
  EXPECT_EQ(factor(*backend, s, {}, 0.01).failed, -1);
}

QUENCH_FOR_EVERY_BACKEND(HessianTest);

}  // namespace
}  // namespace quench::kernels
