// Layers to solve and what solving them gave, for the tests of the solvers.
#pragma once

#include "kernels/gptq.h"
#include "kernels/hessian.h"
#include "tests/kernels/backend_fixture.h"

namespace quench::kernels {

struct Solved {
  std::vector<std::uint8_t> codes;
  std::vector<std::uint16_t> scales;
  std::vector<std::uint8_t> zeros;
  Matrix dequantized;
  std::vector<double> losses;
  Solved(std::int64_t rows, std::int64_t cols, std::int64_t groups)
      : codes(static_cast<std::size_t>(rows * cols)),
        scales(static_cast<std::size_t>(rows * groups)),
        zeros(scales.size()),
        dequantized(rows, cols),
        losses(static_cast<std::size_t>(rows)) {}
  SolveOutput output() {
    return {codes.data(), scales.data(), zeros.data(), dequantized.view(), losses.data()};
  }
  bool same_as(const Solved& o) const {
    return codes == o.codes && scales == o.scales && zeros == o.zeros && same_bits(losses, o.losses) &&
           same_bits(dequantized.values, o.dequantized.values);
  }
};

// A layer: correlated inputs, their Hessian as sums, its factor in reversed order, and H itself.
struct Layer {
  Matrix x, w;
  std::vector<std::int32_t> exponents;
  TriangleBuffer<float> h, l;
  std::vector<float> pivots;
  double damping = 0;
  FactorView factor() const { return {l.layout(), l.panels(), pivots.data()}; }
};

inline Layer make_layer(Backend& backend, std::int64_t rows, std::int64_t cols, std::int64_t width,
                 std::uint32_t seed, float loudest = 1.0f) {
  const std::int64_t tokens = 4 * cols;
  Layer layer{random_matrix(tokens, cols, seed), random_matrix(rows, cols, seed + 1, 0.05f), {}, {}, {}, {}};
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t c = 1; c < cols; ++c) layer.x.at(t, c) += 0.6f * layer.x.at(t, c - 1);
    layer.x.at(t, cols / 3) *= loudest;
  }
  const TrianglePanels layout{cols, width};
  layer.exponents.assign(static_cast<std::size_t>(cols), -126);
  backend.column_exponents(layer.x.view(), layer.exponents);
  TriangleBuffer<std::int64_t> sums(layout);
  const SumScale scale{tokens, layer.exponents};
  backend.add_hessian_leaf(layer.x.view(), scale, layout, sums.panels());
  std::vector<double> diagonal(static_cast<std::size_t>(cols));
  hessian_diagonal(layout, sums.panels(), scale, diagonal);
  const double add = layer.damping = damping(diagonal, 0.01);
  const std::vector<std::int32_t> order = factor_order({}, cols);
  layer.h = TriangleBuffer<float>(layout);
  layer.l = TriangleBuffer<float>(layout);
  layer.pivots.resize(static_cast<std::size_t>(cols));
  for (std::int64_t p = 0; p < layout.count(); ++p) {
    backend.build_factor_panel(layout, p, sums.panels(), scale, {}, 0.0, layer.h.panels()[p]);
    backend.build_factor_panel(layout, p, sums.panels(), scale, order, add, layer.l.panels()[p]);
  }
  EXPECT_EQ(factor_triangle(backend, layout, layer.l.panels(), layer.pivots.data()), -1);
  return layer;
}

// H with its damping in processing order, by definition.
inline std::vector<std::vector<double>> dense_hessian(const Layer& layer) {
  const auto columns = static_cast<std::size_t>(layer.x.cols);
  std::vector<std::vector<double>> dense(columns, std::vector<double>(columns, 0.0));
  for (std::int64_t t = 0; t < layer.x.rows; ++t)
    for (std::size_t i = 0; i < columns; ++i)
      for (std::size_t j = 0; j < columns; ++j)
        dense[i][j] += static_cast<double>(layer.x.at(t, static_cast<std::int64_t>(i))) * layer.x.at(t, static_cast<std::int64_t>(j));
  for (std::size_t i = 0; i < columns; ++i) {
    for (double& value : dense[i]) value /= static_cast<double>(layer.x.rows);
    dense[i][i] += layer.damping;
  }
  return dense;
}

inline Solved solve(Backend& backend, const Layer& layer, const GridSpec& grid, GroupRule rule) {
  Solved s(layer.w.rows, layer.w.cols, group_count(layer.w.cols, grid.group_size));
  backend.solve_gptq(layer.w.view(), layer.factor(), grid, rule, s.output());
  return s;
}

inline Solved round_nearest(Backend& backend, const Matrix& w, const GridSpec& grid) {
  Solved s(w.rows, w.cols, group_count(w.cols, grid.group_size));
  SolveOutput out = s.output();
  out.losses = nullptr;
  backend.round_to_nearest(w.view(), grid, out);
  return s;
}

}  // namespace quench::kernels
