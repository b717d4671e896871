// Additive codebooks: the same bits as the scalar backend everywhere, and right beside double precision.
#include "kernels/codebook.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "tests/kernels/backend_fixture.h"

namespace quench::kernels {
namespace {

struct Shape {
  std::int64_t rows, cols;
  int codebooks, bits, group;
};
const Shape kShapes[] = {{5, 8, 1, 1, 8}, {40, 48, 2, 5, 8}, {17, 32, 1, 12, 16}, {17, 264, 3, 3, 8}, {50, 144, 2, 6, 16}};

// A random linear: wide codes (16 bits) as a search has them, narrow ones as an artifact has them.
struct Case {
  Shape shape;
  std::int64_t panels;
  std::vector<std::uint16_t> wide;
  std::vector<std::uint8_t> narrow;
  std::vector<float> entries, scales;

  AdditiveView view(bool packed) const {
    AdditiveView view;
    view.rows = shape.rows;
    view.cols = shape.cols;
    view.codebooks = shape.codebooks;
    view.bits = shape.bits;
    view.code_bits = packed ? shape.bits : 16;
    view.group = shape.group;
    view.codes = packed ? narrow.data() : reinterpret_cast<const std::uint8_t*>(wide.data());
    view.entries = entries.data();
    view.scales = scales.data();
    return view;
  }
};

Case random_case(const Shape& shape, std::uint32_t seed) {
  Case c{shape, panel_count(shape.rows), {}, {}, {}, {}};
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const std::int64_t sixteens = c.panels * shape.cols / shape.group * shape.codebooks;
  std::uniform_int_distribution<int> code(0, (1 << shape.bits) - 1);
  for (std::int64_t i = 0; i < sixteens * 16; ++i) c.wide.push_back(static_cast<std::uint16_t>(code(random)));
  c.narrow.resize(static_cast<std::size_t>(sixteens * 2 * shape.bits) + kCodePadding);
  narrow_codes(c.wide.data(), sixteens, shape.bits, c.narrow.data());
  for (int i = 0; i < shape.codebooks * (1 << shape.bits) * shape.group; ++i) c.entries.push_back(normal(random));
  for (std::int64_t row = 0; row < c.panels * 16; ++row)
    c.scales.push_back(row < shape.rows ? 0.02f * (1.5f + std::sin(static_cast<float>(row))) : 0.0f);
  return c;
}

class Codebook : public BackendTest {};

TEST_P(Codebook, CodesAtTheirTrueWidthGiveTheWeightsOfWideOnes) {
  for (const Shape& shape : kShapes) {
    const Case c = random_case(shape, 3);
    for (std::size_t i = 0; i < c.wide.size(); ++i)
      ASSERT_EQ(code_of(c.narrow.data() + i / 16 * 2 * static_cast<std::size_t>(shape.bits), shape.bits, static_cast<int>(i % 16)),
                c.wide[i]);
    Matrix wide(shape.rows, shape.cols), narrow(shape.rows, shape.cols);
    backend->codebooks().dequantize(c.view(false), wide.view());
    backend->codebooks().dequantize(c.view(true), narrow.view());
    EXPECT_TRUE(same_bits(wide.values, narrow.values));
    for (std::int64_t row = 0; row < shape.rows; ++row)
      for (std::int64_t k = 0; k < shape.cols; ++k) {
        const std::int64_t groups = shape.cols / shape.group, j = k / shape.group;
        float sum = 0;
        for (int m = 0; m < shape.codebooks; ++m) {
          const std::uint16_t code =
              c.wide[static_cast<std::size_t>(((row / 16 * groups + j) * shape.codebooks + m) * 16 + row % 16)];
          const float value = c.entries[static_cast<std::size_t>(((m << shape.bits) + code) * shape.group + k % shape.group)];
          sum = m == 0 ? value : sum + value;
        }
        ASSERT_EQ(narrow.at(row, k), c.scales[static_cast<std::size_t>(row)] * sum);
      }
  }
}

TEST_P(Codebook, AProductHasTheBitsOfTheDenseOneForAnyNumberOfRows) {
  for (const Shape& shape : kShapes) {
    const Case c = random_case(shape, 4);
    Matrix weights(shape.rows, shape.cols);
    reference->codebooks().dequantize(c.view(true), weights.view());
    const WeightPanels dense = dense_panels(weights);
    for (const std::int64_t rows : {1, 2, 13, 500}) {
      const Matrix x = random_matrix(rows, shape.cols, 5, 1.0f, 3);
      Matrix expected(rows, shape.rows, 2), y(rows, shape.rows, 2);
      reference->gemm(x.view(), dense.view(), expected.view());
      backend->codebooks().gemm(x.view(), c.view(true), y.view());
      EXPECT_TRUE(same_bits(y.values, expected.values)) << rows << " x " << shape.rows << " x " << shape.cols;
    }
  }
}

// A positive definite H and a random w near what the codebooks can say.
struct Problem {
  Case c;
  Matrix h;
  std::vector<float> weights, metric;
};
Problem random_problem(const Shape& shape, std::uint32_t seed) {
  Problem p{random_case(shape, seed), Matrix(shape.cols, shape.cols), {}, {}};
  const Matrix x = random_matrix(shape.cols + 20, shape.cols, seed + 1);
  for (std::int64_t i = 0; i < shape.cols; ++i)
    for (std::int64_t j = 0; j < shape.cols; ++j) {
      double sum = i == j ? 0.1 : 0.0;
      for (std::int64_t t = 0; t < x.rows; ++t)
        sum += (static_cast<double>(x.at(t, i)) + x.at(t, i / 2)) * (static_cast<double>(x.at(t, j)) + x.at(t, j / 2));
      p.h.at(i, j) = static_cast<float>(sum / static_cast<double>(x.rows));
    }
  const Matrix w = random_matrix(shape.rows, shape.cols, seed + 2, 0.03f);
  p.weights.resize(static_cast<std::size_t>(p.c.panels * 16 * shape.cols));
  to_panels(w.view(), p.weights.data());
  for (std::int64_t first = 0; first < shape.cols; first += shape.group)
    for (int i = 0; i < shape.group; ++i)
      for (int d = 0; d < shape.group; ++d) p.metric.push_back(p.h.at(first + i, first + d));
  return p;
}

double loss_of(Backend& backend, const Problem& p, const std::vector<std::uint16_t>& codes) {
  AdditiveView view = p.c.view(false);
  view.codes = reinterpret_cast<const std::uint8_t*>(codes.data());
  std::vector<float> residual(p.weights.size());
  Matrix y(p.c.shape.cols, p.c.panels * 16);
  std::vector<double> dots(static_cast<std::size_t>(p.c.panels * 16));
  backend.codebooks().residual(view, p.weights.data(), residual.data());
  backend.codebooks().products(p.h.view(), residual.data(), y.view());
  backend.codebooks().row_dots(residual.data(), y.view(), dots);
  return std::accumulate(dots.begin(), dots.end(), 0.0);
}

CodebookSearch pass_of(const Problem& p, std::vector<std::uint16_t>& codes, std::vector<float>& residual, bool feedback) {
  CodebookSearch pass;
  pass.shape = p.c.view(false);
  pass.codes = codes.data();
  pass.weights = p.weights.data();
  pass.residual = residual.data();
  pass.coupling = p.h.values.data();
  pass.metric = p.metric.data();
  pass.sweeps = 2;
  pass.feedback = feedback;
  return pass;
}

TEST_P(Codebook, ASearchHasTheScalarBitsAndLosesLessEachTime) {
  for (const Shape& shape : kShapes) {
    const Problem p = random_problem(shape, 11);
    std::vector<std::uint16_t> codes = p.c.wide, expected_codes = p.c.wide;
    std::vector<float> residual(p.weights.size()), expected(p.weights.size());
    double before = loss_of(*reference, p, codes);
    for (int round = 0; round < 3; ++round) {
      for (auto [on, to, left] : {std::tuple{reference.get(), &expected_codes, &expected}, std::tuple{backend.get(), &codes, &residual}}) {
        CodebookSearch pass = pass_of(p, *to, *left, false);
        AdditiveView view = pass.shape;
        view.codes = reinterpret_cast<const std::uint8_t*>(to->data());
        on->codebooks().residual(view, p.weights.data(), left->data());
        on->codebooks().search(pass);
      }
      ASSERT_EQ(codes, expected_codes);
      ASSERT_TRUE(same_bits(residual, expected));
      // What the search leaves behind is what its codes say.
      AdditiveView view = p.c.view(false);
      view.codes = reinterpret_cast<const std::uint8_t*>(codes.data());
      std::vector<float> again(residual.size());
      backend->codebooks().residual(view, p.weights.data(), again.data());
      EXPECT_TRUE(same_bits(residual, again));
      const double loss = loss_of(*reference, p, codes);
      EXPECT_LE(loss, before * (1 + 1e-6));
      before = loss;
    }
    // The last code that was chosen for a row is the best for it as all others are.
    const std::int64_t groups = shape.cols / shape.group;
    const auto at = static_cast<std::size_t>((groups * shape.codebooks - 1) * 16);  // row 0, last group and codebook
    for (std::int64_t code = 0; code < (std::int64_t{1} << shape.bits); code += 1 + (1 << shape.bits) / 40) {
      std::vector<std::uint16_t> other = codes;
      other[at] = static_cast<std::uint16_t>(code);
      EXPECT_GE(loss_of(*reference, p, other), before * (1 - 1e-6)) << "code " << code;
    }
  }
}

TEST_P(Codebook, FeedbackChoosesTheScalarBits) {
  for (const Shape& shape : kShapes) {
    Problem p = random_problem(shape, 21);
    // Any strictly lower coupling will do for bits: column j's error moves the columns behind it.
    for (std::int64_t i = 0; i < shape.cols; ++i)
      for (std::int64_t j = 0; j < shape.cols; ++j)
        p.h.at(i, j) = j / shape.group < i / shape.group ? 0.1f * p.h.at(i, j) : 0.0f;
    std::vector<std::uint16_t> codes(p.c.wide.size(), 0), expected_codes(p.c.wide.size(), 1);
    std::vector<float> residual(p.weights.size(), 7.0f), expected(p.weights.size(), -3.0f);
    reference->codebooks().search(pass_of(p, expected_codes, expected, true));
    backend->codebooks().search(pass_of(p, codes, residual, true));
    EXPECT_EQ(codes, expected_codes);
    EXPECT_TRUE(same_bits(residual, expected));
  }
}

TEST_P(Codebook, SumsOverRowsAreTheSameIntegersAndRight) {
  for (const Shape& shape : kShapes) {
    const Case c = random_case(shape, 31);
    const Matrix y = random_matrix(shape.cols, c.panels * 16, 32);
    std::vector<float> diagonal(static_cast<std::size_t>(shape.cols));
    for (std::size_t k = 0; k < diagonal.size(); ++k) diagonal[k] = 1.0f + static_cast<float>(k % 5);
    EXPECT_EQ(backend->codebooks().largest(y.view(), c.scales.data()), reference->codebooks().largest(y.view(), c.scales.data()));
    const double unit = 0x1p40;
    const auto count = static_cast<std::size_t>(c.view(false).values());
    std::vector<std::int64_t> sums(count, 5), expected(count, 5), weights(count, 0), expected_weights(count, 0);
    backend->codebooks().add_to_entries(c.view(false), y.view(), c.scales.data(), {sums.data(), unit});
    reference->codebooks().add_to_entries(c.view(false), y.view(), c.scales.data(), {expected.data(), unit});
    EXPECT_EQ(sums, expected);
    backend->codebooks().add_diagonal(c.view(false), diagonal.data(), c.scales.data(), {weights.data(), unit});
    reference->codebooks().add_diagonal(c.view(false), diagonal.data(), c.scales.data(), {expected_weights.data(), unit});
    EXPECT_EQ(weights, expected_weights);
    std::vector<double> plain(count, 0.0);
    const std::int64_t groups = shape.cols / shape.group;
    for (std::int64_t row = 0; row < shape.rows; ++row)
      for (std::int64_t k = 0; k < shape.cols; ++k)
        for (int m = 0; m < shape.codebooks; ++m) {
          const std::uint16_t code = c.wide[static_cast<std::size_t>(
              ((row / 16 * groups + k / shape.group) * shape.codebooks + m) * 16 + row % 16)];
          plain[static_cast<std::size_t>(((m << shape.bits) + code) * shape.group + k % shape.group)] +=
              static_cast<double>(c.scales[static_cast<std::size_t>(row)]) * y.at(k, row);
        }
    for (std::size_t i = 0; i < count; ++i)
      ASSERT_NEAR(static_cast<double>(sums[i] - 5) / unit, plain[i], 1e-6 * (1 + std::fabs(plain[i])));
  }
}

TEST_P(Codebook, TheNearestEntryIsFoundAndTheFirstOfEquals) {
  for (const int group : {8, 16}) {
    const std::int64_t count = 37, panels = 3;
    Matrix entries = random_matrix(count, group, 41), points(panels * group, 16);
    const Matrix drawn = random_matrix(panels * 16, group, 42);
    for (int d = 0; d < group; ++d) entries.at(20, d) = entries.at(7, d);  // a duplicate never wins
    for (std::int64_t i = 0; i < panels * 16; ++i)
      for (int d = 0; d < group; ++d)
        points.at(i / 16 * group + d, i % 16) = i == 5 ? entries.at(20, d) : drawn.at(i, d);
    std::vector<std::int32_t> index(static_cast<std::size_t>(panels * 16), -1);
    backend->codebooks().nearest(entries.values.data(), count, group, points.values.data(), panels, index.data());
    EXPECT_EQ(index[5], 7);
    for (std::int64_t i = 0; i < panels * 16; ++i) {
      double least = std::numeric_limits<double>::infinity(), found = 0;
      for (std::int64_t e = 0; e < count; ++e) {
        double distance = 0;
        for (int d = 0; d < group; ++d) {
          const double x = points.at(i / 16 * group + d, i % 16) - entries.at(e, d);
          distance += x * x;
        }
        least = std::min(least, distance);
        if (e == index[static_cast<std::size_t>(i)]) found = distance;
      }
      EXPECT_LE(found, least + 1e-4);
    }
  }
}

QUENCH_FOR_EVERY_BACKEND(Codebook);

}  // namespace
}  // namespace quench::kernels
