#include "worker/quantize/methods.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/weight_panels.h"
#include "schemas/error.h"

namespace quench::worker {
namespace {

using kernels::AlignedBuffer;
using kernels::ConstMatrixView;
using kernels::MatrixView;

std::vector<std::uint8_t> chunk_of(const kernels::WeightPanels& panels) {
  const std::size_t scale_bytes = panels.scales.size() * sizeof(std::uint16_t);
  std::vector<std::uint8_t> chunk(panels.panels.size() + scale_bytes + panels.zeros.size());
  std::uint8_t* next = chunk.data();
  std::memcpy(next, panels.panels.data(), panels.panels.size());
  std::memcpy(next + panels.panels.size(), panels.scales.data(), scale_bytes);
  std::memcpy(next + panels.panels.size() + scale_bytes, panels.zeros.data(), panels.zeros.size());
  return chunk;
}

// Σ a² in row order, in double.
double square_sum(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return sum;
}

// Steps of processing whose input was zero in every token of the calibration text.
std::vector<std::int64_t> dead_columns(const Hessian& hessian) {
  std::vector<std::int64_t> dead;
  for (std::int64_t k = 0; k < hessian.layout.columns; ++k) {
    const std::int64_t column =
        hessian.processing.empty() ? k : hessian.processing[static_cast<std::size_t>(k)];
    if (hessian.diagonal[static_cast<std::size_t>(column)] == 0) dead.push_back(k);
  }
  return dead;
}

// A dead column's weights on the nearest levels of the grids that the living ones chose. The published GPTQ
// sets them to zero, which keeps them out of the range of their group, as here; another text may need them
// though.
void round_column(ConstMatrixView weights, std::int64_t column, std::int64_t k, const kernels::GridSpec& grid,
                  const kernels::SolveOutput& out) {
  const std::int64_t groups = kernels::group_count(weights.cols, grid.group_size);
  const std::int64_t group = grid.group_size < 0 ? 0 : k / grid.group_size;
  const float code_max = static_cast<float>((1 << grid.bits) - 1);
  for (std::int64_t row = 0; row < weights.rows; ++row) {
    const float scale = kernels::f16_to_f32(out.scales[row * groups + group]);
    const float zero = static_cast<float>(out.zeros[row * groups + group]);
    const float code = std::clamp(std::nearbyint(weights.row(row)[column] / scale) + zero, 0.0f, code_max);
    out.codes[row * weights.cols + k] = static_cast<std::uint8_t>(code);
    out.dequantized.row(row)[k] = (code - zero) * scale;
  }
}

}  // namespace

kernels::GridSpec grid_of(const QuantizeSpec& recipe) {
  kernels::GridSpec grid;
  if (recipe.method == Method::int8) {
    grid.bits = 8;
    grid.kind = kernels::GridKind::absmax;
    return grid;
  }
  grid.bits = static_cast<int>(recipe.bits);
  grid.group_size = recipe.group_size;
  grid.kind = recipe.symmetric ? kernels::GridKind::symmetric : kernels::GridKind::asymmetric;
  grid.rule = recipe.scale_rule == ScaleRule::search ? kernels::ScaleRule::search : kernels::ScaleRule::range;
  return grid;
}

std::int64_t rows_solved_together(const kernels::Backend& backend, std::int64_t rows_per_tile, std::int64_t columns) {
  return std::max<std::int64_t>(1, backend.rows_solved_at_once(columns) / rows_per_tile) * rows_per_tile;
}

SolvedTile solve_tile(kernels::Backend& backend, const QuantizeSpec& recipe, ConstMatrixView weights,
                      const Hessian* hessian, const Factor* factor, std::span<float> dequantized) {
  return std::move(solve_tiles(backend, recipe, weights, weights.rows, hessian, factor, dequantized).at(0));
}

std::vector<SolvedTile> solve_tiles(kernels::Backend& backend, const QuantizeSpec& recipe, ConstMatrixView weights,
                                    std::int64_t rows_per_tile, const Hessian* hessian, const Factor* factor,
                                    std::span<float> dequantized) {
  const std::int64_t rows = weights.rows, columns = weights.cols;
  const kernels::GridSpec grid = grid_of(recipe);
  const std::int64_t groups = kernels::group_count(columns, grid.group_size);
  const auto count = static_cast<std::size_t>(rows * columns);

  AlignedBuffer<std::uint8_t> codes(count);
  std::vector<std::uint16_t> scales(static_cast<std::size_t>(rows * groups));
  std::vector<std::uint8_t> zeros(static_cast<std::size_t>(rows * groups));
  kernels::Memory* const memory = backend.memory();
  AlignedBuffer<float> solved(count, memory);
  const MatrixView solved_view(solved.data(), rows, columns);
  kernels::SolveOutput out{codes.data(), scales.data(), zeros.data(), solved_view, nullptr};

  std::vector<SolvedTile> tiles(static_cast<std::size_t>((rows + rows_per_tile - 1) / rows_per_tile));
  const auto tile_of = [&](std::int64_t row) -> SolvedTile& { return tiles[static_cast<std::size_t>(row / rows_per_tile)]; };
  std::span<const std::int32_t> processing;
  if (factor == nullptr) {
    backend.round_to_nearest(weights, grid, out);
    kernels::to_host(memory, solved_view);
    kernels::to_host(memory, weights);
    for (std::int64_t row = 0; row < rows; ++row) {
      SolvedTile& tile = tile_of(row);
      for (std::int64_t k = 0; k < columns; ++k) {
        const double difference = static_cast<double>(weights.row(row)[k]) - solved_view.row(row)[k];
        tile.loss += difference * difference;
      }
      tile.energy += square_sum({weights.row(row), static_cast<std::size_t>(columns)});
    }
  } else {
    processing = hessian->processing;
    const std::vector<std::int64_t> dead = dead_columns(*hessian);
    AlignedBuffer<float> ordered(processing.empty() && dead.empty() ? 0 : count);
    if (!dead.empty()) kernels::to_host(memory, weights);
    ConstMatrixView in_order = weights;
    if (ordered.size() > 0) {
      const MatrixView into(ordered.data(), rows, columns);
      if (processing.empty())
        for (std::int64_t row = 0; row < rows; ++row) std::copy_n(weights.row(row), columns, into.row(row));
      else
        backend.gather_columns(weights, processing, into);
      for (std::int64_t row = 0; row < rows; ++row)
        for (const std::int64_t k : dead) into.row(row)[k] = 0;
      in_order = into;
    }
    std::vector<double> damped(static_cast<std::size_t>(rows)), losses(damped.size()), energies(damped.size());
    out.losses = damped.data();
    backend.solve_gptq(in_order, factor->view(), grid, kernels::GroupRule::updated, out);
    // Before dead columns are rounded: they have no part in the losses.
    backend.solved_losses(in_order, rows_per_tile, out, factor->damping, hessian->layout, hessian->values.panels(), losses, energies);
    if (!dead.empty()) {
      kernels::to_host(memory, solved_view);
      for (const std::int64_t k : dead)
        round_column(weights, processing.empty() ? k : processing[static_cast<std::size_t>(k)], k, grid, out);
      kernels::to_device(memory, solved_view);
    }
    for (std::int64_t row = 0; row < rows; ++row) {
      tile_of(row).loss += losses[static_cast<std::size_t>(row)];
      tile_of(row).energy += energies[static_cast<std::size_t>(row)];
    }
  }

  if (!dequantized.empty()) {
    QUENCH_CHECK(dequantized.size() == count, dequantized.size(), count);
    kernels::to_host(memory, solved_view);
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t k = 0; k < columns; ++k) {
        const std::int64_t column = processing.empty() ? k : processing[static_cast<std::size_t>(k)];
        dequantized[static_cast<std::size_t>(row * columns + column)] = solved_view.row(row)[k];
      }
  }
  backend.on_host_threads(static_cast<std::int64_t>(tiles.size()), [&](std::int64_t tile) {
    const std::int64_t row = tile * rows_per_tile;
    kernels::WeightPanels panels = kernels::WeightPanels::allocate(
        kernels::packed_format(grid.bits), std::min(rows_per_tile, rows - row), columns, grid.group_size);
    kernels::pack_codes(codes.data() + row * columns, scales.data() + row * groups, zeros.data() + row * groups, panels);
    SolvedTile& solved_tile = tiles[static_cast<std::size_t>(tile)];
    solved_tile.chunk = chunk_of(panels);
    solved_tile.digest = sha256(solved_tile.chunk);
  });
  return tiles;
}

}  // namespace quench::worker
