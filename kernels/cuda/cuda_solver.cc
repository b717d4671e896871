// GPTQ, rounding to nearest and quadratic losses on a device.
//
// Working memory of solve_gptq for R rows (rounded up to 32): 9 bytes * R * C, 10 bytes for each grid, and with several
// groups 8 bytes * R * (group size + kGridColumns).
#include <algorithm>

#include "kernels/cuda/cuda_backend.h"

namespace quench::kernels::cuda {
namespace {

using Before = OperandCall::Before;

void check_output(ConstMatrixView w, const GridSpec& grid, const SolveOutput& out) {
  QUENCH_KERNEL_CHECK_LE(2, grid.bits);
  QUENCH_KERNEL_CHECK_LE(grid.bits, 8);
  if (out.dequantized.data != nullptr) {
    QUENCH_KERNEL_CHECK_EQ(out.dequantized.rows, w.rows);
    QUENCH_KERNEL_CHECK_EQ(out.dequantized.cols, w.cols);
  }
}

// A tile of rows on the device while it is solved: columns of rows, `stride` apart.
struct Tile {
  Device& device;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t stride = 0;
  GridSpec grid;  // group_size > 0
  std::int64_t groups = 0;
  float* current = nullptr;
  float* errors = nullptr;
  std::uint8_t* codes = nullptr;
  std::uint16_t* scale_bits = nullptr;
  float* scales = nullptr;
  float* zeros = nullptr;

  Tile(Device& on, OperandCall& call, ConstMatrixView w, const GridSpec& spec, bool feeds_back)
      : device(on), rows(w.rows), columns(w.cols), stride(blocks(w.rows, 32) * 32), grid(spec) {
    if (grid.group_size < 0) grid.group_size = columns;
    groups = group_count(columns, grid.group_size);
    current = call.scratch<float>(columns * stride);
    if (feeds_back) errors = call.scratch<float>(columns * stride);
    codes = call.scratch<std::uint8_t>(columns * stride);
    scale_bits = call.scratch<std::uint16_t>(groups * stride);
    scales = call.scratch<float>(groups * stride);
    zeros = call.scratch<float>(groups * stride);
    device.launch(ToColumns{w, stride, current, errors}, {blocks(columns, 32), stride / 32});
  }

  // Grids of groups [first, last) from `values`, which begin at column `first_column`.
  void fit(const float* values, std::int64_t first_column, std::int64_t first, std::int64_t last) const {
    constexpr std::int64_t at_once = 65535;
    for (std::int64_t group = first; group < last; group += at_once) {
      GridFit fit_groups{values, stride, first_column, rows, columns, group, grid, scale_bits, scales, zeros};
      device.launch(fit_groups, {blocks(rows, GridFit::kThreads), std::min(at_once, last - group)});
    }
  }

  float code_max() const { return static_cast<float>((1 << grid.bits) - 1); }

  void write(OperandCall& call, ConstMatrixView w, const SolveOutput& out) const {
    FromColumns from;
    from.codes = codes;
    from.stride = stride;
    from.rows = rows;
    from.cols = columns;
    from.group_size = grid.group_size;
    from.scales = scales;
    from.zeros = zeros;
    from.out = call.out(out.codes, w.rows * w.cols, Before::unset);
    if (out.dequantized.data != nullptr) from.dequantized = call.out(out.dequantized, Before::unset);
    device.launch(from, {blocks(columns, 32), stride / 32});
    constexpr std::int64_t at_once = 65535;
    QUENCH_KERNEL_CHECK_LE(groups, at_once);
    device.launch(GridsToRows{scale_bits, zeros, stride, rows, groups, call.out(out.scales, rows * groups, Before::unset),
                              call.out(out.zeros, rows * groups, Before::unset)},
                  {blocks(rows, GridsToRows::kThreads), groups});
  }
};

constexpr std::int64_t kSolveColumns = SolveColumnsTile::kColumnsMax;
// Columns of H that energies take at once.
constexpr std::int64_t kEnergyColumns = 2048;
// Products of quadratic losses held at once.
constexpr std::int64_t kProductsMax = std::int64_t{64} << 20;

// current[k] of columns [begin, end) takes the errors of columns [first, last); arrays begin at `first_column`.
void feed_back(Device& device, const FeedbackView& feedback, float* current, const float* errors, std::int64_t stride,
               std::int64_t first_column, std::int64_t begin, std::int64_t end, std::int64_t first, std::int64_t last) {
  if (first >= last || begin >= end) return;
  const std::int64_t row_tiles = blocks(stride, kTileCols);
  if (end - begin > kSolveColumns)
    device.launch(FeedbackTall{current, errors, stride, first_column, begin, end, first, last, feedback},
                  {row_tiles, blocks(end - begin, FeedbackTall::kColumns)});
  else
    device.launch(FeedbackFlat{current, errors, stride, first_column, begin, end, first, last, feedback},
                  {row_tiles, blocks(end - begin, FeedbackFlat::kColumns)});
}

}  // namespace

// Half the bytes travel, and the host's threads are not needed.
void CudaBackend::convert_to_f32(const void* stored, ElementType type, MatrixView out) {
  if (type == ElementType::f32) {
    Backend::convert_to_f32(stored, type, out);
    return;
  }
  QUENCH_KERNEL_CHECK_EQ(out.stride, out.cols);
  const std::int64_t count = out.rows * out.cols;
  if (count == 0) return;
  OperandCall call = begin();
  WidenHalves widen;
  widen.stored = call.in(static_cast<const std::uint16_t*>(stored), count);
  widen.brain = type == ElementType::bf16;
  widen.count = count;
  widen.out = call.out(out.data, count, Before::unset);
  device_->launch(widen, {blocks(count, WidenHalves::kThreads * WidenHalves::kEach)});
  call.finish();
}

void CudaBackend::solve_gptq(ConstMatrixView w, const FactorView& factor, const GridSpec& grid, GroupRule rule,
                             const SolveOutput& out) {
  QUENCH_KERNEL_CHECK_EQ(w.cols, factor.layout.columns);
  check_output(w, grid, out);
  if (w.rows == 0 || w.cols == 0) return;
  OperandCall call = begin();
  Device& device = *device_;
  const Tile tile(device, call, call.in(w), grid, true);
  const std::int64_t columns = tile.columns, stride = tile.stride, group_size = tile.grid.group_size;
  FeedbackView feedback;
  feedback.layout = factor.layout;
  feedback.panels = panel_table(call, factor.layout, factor.panels);
  feedback.pivots = call.in(factor.pivots, columns);
  double* losses = nullptr;
  if (out.losses != nullptr) {
    losses = call.scratch<double>(stride);
    device.set_zero(losses, static_cast<std::size_t>(stride) * sizeof(double));
  }
  if (rule == GroupRule::original) tile.fit(tile.current, 0, 0, tile.groups);

  SolveColumnsTile unrounded;
  unrounded.stride = stride;
  unrounded.rows = tile.rows;
  unrounded.feedback = feedback;
  const Grid row_blocks{stride / SolveColumnsTile::kRows};

  // The grids of groups [first_group, last_group), which begin in [block, block + kGridColumns), fitted to W' of gptq.h on
  // a copy of columns [block, range_end): `current` there holds the feedback of all columns before the block.
  const bool copies = rule == GroupRule::updated && columns > kGridColumns && tile.groups > 1;
  const std::int64_t copied = copies ? (kGridColumns + group_size) * stride : 0;
  float* trial = call.scratch<float>(copied);
  float* trial_errors = call.scratch<float>(copied);
  const auto fit_updated = [&](std::int64_t block, std::int64_t range_end, std::int64_t first_group,
                               std::int64_t last_group) {
    const auto bytes = static_cast<std::size_t>((range_end - block) * stride) * sizeof(float);
    device.copy_within(trial, tile.current + block * stride, bytes);
    device.copy_within(trial_errors, tile.errors + block * stride, bytes);
    for (std::int64_t begin = block; begin < range_end; begin += kSolveColumns) {
      const std::int64_t end = std::min(begin + kSolveColumns, range_end);
      SolveColumnsTile update = unrounded;
      update.current = trial;
      update.errors = trial_errors;
      update.first_column = block;
      update.begin = begin;
      update.end = end;
      device.launch(update, row_blocks);
      feed_back(device, feedback, trial, trial_errors, stride, block, end, range_end, begin, end);
    }
    tile.fit(trial, block, first_group, last_group);
  };

  SolveColumnsTile solve = unrounded;
  solve.current = tile.current;
  solve.errors = tile.errors;
  solve.code_max = tile.code_max();
  solve.codes = tile.codes;
  solve.losses = losses;
  for (std::int64_t block = 0; block < columns; block += kGridColumns) {
    const std::int64_t block_end = std::min(block + kGridColumns, columns);
    const std::int64_t first_group = blocks(block, group_size), last_group = blocks(block_end, group_size);
    if (rule == GroupRule::updated && first_group < last_group) {
      // Before the first column there is nothing to make good for.
      if (block == 0)
        tile.fit(tile.current, 0, 0, last_group);
      else
        fit_updated(block, std::max(block_end, std::min(last_group * group_size, columns)), first_group, last_group);
    }
    for (std::int64_t begin = block, end = 0; begin < block_end; begin = end) {
      const std::int64_t group = begin / group_size;
      end = std::min({begin + kSolveColumns, (group + 1) * group_size, block_end});
      solve.begin = begin;
      solve.end = end;
      solve.scale = tile.scales + group * stride;
      solve.zero = tile.zeros + group * stride;
      device.launch(solve, row_blocks);
      feed_back(device, feedback, tile.current, tile.errors, stride, 0, end, block_end, begin, end);
    }
    feed_back(device, feedback, tile.current, tile.errors, stride, 0, block_end, columns, block, block_end);
  }
  tile.write(call, w, out);
  if (losses != nullptr) {
    double* to = call.out(out.losses, w.rows, Before::unset);
    device.copy_within(to, losses, static_cast<std::size_t>(w.rows) * sizeof(double));
  }
  call.finish();
}

void CudaBackend::round_to_nearest(ConstMatrixView w, const GridSpec& grid, const SolveOutput& out) {
  check_output(w, grid, out);
  QUENCH_KERNEL_CHECK_EQ(out.losses == nullptr, true);
  if (w.rows == 0 || w.cols == 0) return;
  OperandCall call = begin();
  const Tile tile(*device_, call, call.in(w), grid, false);
  tile.fit(tile.current, 0, 0, tile.groups);
  RoundColumns round;
  round.stride = tile.stride;
  round.rows = tile.rows;
  round.scales = tile.scales;
  round.zeros = tile.zeros;
  round.group_size = tile.grid.group_size;
  round.code_max = tile.code_max();
  round.current = tile.current;
  round.codes = tile.codes;
  QUENCH_KERNEL_CHECK_LE(tile.columns, 65535);
  device_->launch(round, {blocks(tile.rows, RoundColumns::kThreads), tile.columns});
  tile.write(call, w, out);
  call.finish();
}

void CudaBackend::quadratic_losses(ConstMatrixView w, ConstMatrixView dequantized, const TrianglePanels& layout,
                                   const float* const* hessian, std::span<double> numerators,
                                   std::span<double> denominators) {
  QUENCH_KERNEL_CHECK_EQ(w.cols, layout.columns);
  QUENCH_KERNEL_CHECK_EQ(w.rows, dequantized.rows);
  QUENCH_KERNEL_CHECK_EQ(w.cols, dequantized.cols);
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(numerators.size()), w.rows);
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(denominators.size()), w.rows);
  if (w.rows == 0) return;
  OperandCall call = begin();
  LossProducts work;
  work.vectors = {call.in(w), call.in(dequantized)};
  work.layout = layout;
  work.hessian = panel_table(call, layout, hessian);
  double* sums = call.scratch<double>(2 * w.rows);
  device_->set_zero(sums, static_cast<std::size_t>(2 * w.rows) * sizeof(double));
  // As many panels at once as there is room for their products.
  const std::int64_t halves = layout.width / LossProducts::kColumns;
  const std::int64_t panel_products = blocks(layout.columns, kLossRows) * 2 * layout.width * w.rows;
  const std::int64_t at_once = std::clamp<std::int64_t>(kProductsMax / panel_products, 1, 65535 / (2 * halves));
  work.products = call.scratch<float>(std::min(at_once, layout.count()) * panel_products);
  for (std::int64_t first = 0; first < layout.count(); first += at_once) {
    const std::int64_t panels = std::min(at_once, layout.count() - first);
    work.first_panel = first;
    work.row_blocks = blocks(layout.row_count(first), kLossRows);
    device_->launch(work, {blocks(w.rows, kTileCols), work.row_blocks, panels * halves * 2});
    device_->launch(LossFold{work, panels, first + panels == layout.count() ? 2.0 : 1.0, sums},
                    {blocks(w.rows, LossFold::kThreads), 2});
  }
  const std::size_t bytes = static_cast<std::size_t>(w.rows) * sizeof(double);
  device_->copy_within(call.out(numerators.data(), w.rows, Before::unset), sums, bytes);
  device_->copy_within(call.out(denominators.data(), w.rows, Before::unset), sums + w.rows, bytes);
  call.finish();
}

void CudaBackend::solved_losses(ConstMatrixView w, std::int64_t tile_rows, const SolveOutput& solved, double damping,
                                const TrianglePanels& layout, const float* const* hessian, std::span<double> losses,
                                std::span<double> energies) {
  if (arithmetic_ == Arithmetic::exact) {
    Backend::solved_losses(w, tile_rows, solved, damping, layout, hessian, losses, energies);
    return;
  }
  QUENCH_KERNEL_CHECK_EQ(w.cols, layout.columns);
  QUENCH_KERNEL_CHECK_EQ(w.rows, solved.dequantized.rows);
  QUENCH_KERNEL_CHECK_EQ(w.cols, solved.dequantized.cols);
  QUENCH_KERNEL_CHECK_EQ(solved.losses == nullptr, false);
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(losses.size()), w.rows);
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(energies.size()), w.rows);
  if (w.rows == 0) return;
  OperandCall call = begin();
  const ConstMatrixView weights = call.in(w);
  DampedLosses damped;
  damped.vectors = {weights, call.in(ConstMatrixView(solved.dequantized))};
  damped.solved = call.in(static_cast<const double*>(solved.losses), w.rows);
  damped.damping = damping;
  damped.losses = call.out(losses.data(), w.rows, Before::unset);
  device_->launch(damped, {w.rows});

  // The weights in the order of H, and of each strip of H the columns below the diagonal.
  const std::vector<std::int32_t> reverse = factor_order({}, w.cols);
  const std::int64_t pitch = blocks(w.cols, 32) * 32;
  const MatrixView reversed(call.scratch<float>(w.rows * pitch), w.rows, w.cols, pitch);
  gather(weights, call.in(std::span<const std::int32_t>(reverse)), reversed);
  LowerStrip lower;
  lower.layout = layout;
  lower.hessian = panel_table(call, layout, hessian);
  lower.strip = call.scratch<float>(kEnergyColumns * pitch);
  lower.diagonal = call.scratch<float>(kEnergyColumns);
  auto* products = call.scratch<float>(w.rows * kEnergyColumns);
  double* sums = call.out(energies.data(), w.rows, Before::unset);
  device_->set_zero(sums, static_cast<std::size_t>(w.rows) * sizeof(double));
  for (std::int64_t first = 0; first < w.cols; first += kEnergyColumns) {
    lower.first = first;
    lower.width = std::min(kEnergyColumns, w.cols - first);
    const std::int64_t below = w.cols - first;
    lower.pitch = blocks(below, 32) * 32;
    device_->launch(lower, {blocks(below, 32), blocks(lower.width, 32)});
    const ConstMatrixView strip(lower.strip, lower.width, below, lower.pitch);
    const MatrixView to(products, w.rows, lower.width);
    // A product of another shape may be summed in another order, so each tile has its own.
    for (std::int64_t row = 0; row < w.rows; row += tile_rows) {
      const std::int64_t rows = std::min(tile_rows, w.rows - row);
      device_->multiply_tf32(reversed.row_range(row, rows).col_range(first, below), strip, to.row_range(row, rows));
    }
    device_->launch(EnergyFold{reversed.col_range(first, lower.width), to, lower.diagonal, sums}, {w.rows});
  }
  call.finish();
}

}  // namespace quench::kernels::cuda
