// GPTQ whose feedback goes from block to block in products of bf16.
#include <cmath>
#include <numeric>

#include "tests/kernels/brain_fixture.h"
#include "tests/kernels/gptq_layer.h"

namespace quench::kernels {
namespace {

using BrainGptqTest = BrainTest;

// The codes of gptq.h in products of bf16, with the grids that were solved.
std::vector<std::uint8_t> codes_by_definition(const Layer& layer, const Solved& grids, int bits, std::int64_t group) {
  const std::int64_t columns = layer.w.cols, groups = group_count(columns, group);
  const auto feedback = [&](std::int64_t j, std::int64_t k) {
    const std::int64_t column = columns - 1 - k, panel = column / layer.l.layout().width;
    return layer.l.panels()[panel][layer.l.layout().index(panel, columns - 1 - j, column)];
  };
  std::vector<std::uint8_t> codes;
  for (std::int64_t row = 0; row < layer.w.rows; ++row) {
    std::vector<float> errors;
    for (std::int64_t k = 0; k < columns; ++k) {
      const std::int64_t block = k / kGridColumns * kGridColumns;
      float value = layer.w.at(row, k);
      for (std::int64_t run = 0; run < block; run += 256) {
        float chain = 0;
        for (std::int64_t j = run; j < std::min(run + 256, block); j += 2)
          for (const std::int64_t i : {j + 1, j})
            chain = std::fma(rounded(errors[static_cast<std::size_t>(i)]), rounded(feedback(i, k)), chain);
        value = chain + value;
      }
      for (std::int64_t j = block; j < k; ++j) value = std::fma(errors[static_cast<std::size_t>(j)], feedback(j, k), value);
      const auto at = static_cast<std::size_t>(row * groups + (group < 0 ? 0 : k / group));
      const float scale = f16_to_f32(grids.scales[at]), zero = grids.zeros[at];
      const float most = static_cast<float>((1 << bits) - 1);
      const float level = std::nearbyint(std::min(std::max(value / scale, -zero), most - zero));
      errors.push_back(layer.w.at(row, k) - level * scale);
      codes.push_back(static_cast<std::uint8_t>(level + zero));
    }
  }
  return codes;
}

TEST_P(BrainGptqTest, IsTheDefinition) {
  // The last block is ragged, its number of columns odd, and no panel of the factor begins where a block does.
  const Layer layer = make_layer(*backend, 9, 409, 64, 21);
  struct Case { int bits; std::int64_t group; };
  for (const auto& [bits, group] : {Case{4, 128}, Case{3, 32}, Case{2, 64}, Case{8, -1}}) {
    const GridSpec grid{bits, group, GridKind::symmetric, ScaleRule::range};
    const Solved s = solve(*backend, layer, grid, GroupRule::updated);
    EXPECT_EQ(s.codes, codes_by_definition(layer, s, bits, group)) << bits << " bits, group " << group;
  }
}

TEST_P(BrainGptqTest, TheSameBitsOnEveryBackendAndInEveryTile) {
  const Layer layer = make_layer(*backend, 20, 300, 64, 22);
  // Groups that end with blocks, within them, behind them, and all of a row.
  for (const std::int64_t group : {128, 96, 200, -1}) {
    const GridSpec grid{3, group, GridKind::asymmetric, ScaleRule::range};
    for (const GroupRule rule : {GroupRule::updated, GroupRule::original}) {
      const Solved s = solve(*backend, layer, grid, rule);
      EXPECT_TRUE(s.same_as(solve(*reference, layer, grid, rule))) << group;
      Solved one(1, 300, group_count(300, group));
      backend->solve_gptq(layer.w.view().row_range(17, 1), layer.factor(), grid, rule, one.output());
      EXPECT_TRUE(std::equal(one.codes.begin(), one.codes.end(), s.codes.begin() + 17 * 300)) << group;
      EXPECT_EQ(one.losses[0], s.losses[17]) << group;
    }
  }
}

// Rounding errors to bf16 on their way to later columns costs next to nothing beside rounding weights to a grid.
TEST_P(BrainGptqTest, LosesNoMoreThanFp32) {
  const Layer layer = make_layer(*backend, 48, 300, 64, 23, 30.0f);
  const auto loss = [&](Products products, int bits) {
    EXPECT_TRUE(backend->set_products(products));
    const Solved s = solve(*backend, layer, {bits, 128, GridKind::symmetric, ScaleRule::range}, GroupRule::updated);
    std::vector<double> losses(48), energies(48);
    backend->quadratic_losses(layer.w.view(), s.dequantized.view(), layer.h.layout(), layer.h.panels(), losses, energies);
    return std::accumulate(losses.begin(), losses.end(), 0.0);
  };
  for (const int bits : {4, 3, 2}) EXPECT_NEAR(loss(Products::bf16, bits) / loss(Products::fp32, bits), 1.0, 0.01) << bits;
}

QUENCH_FOR_EVERY_BACKEND(BrainGptqTest);

}  // namespace
}  // namespace quench::kernels
