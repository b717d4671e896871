// Exact Hessian sums and the blocked LDLᵀ on a device.
#include <algorithm>
#include <cmath>

#include "kernels/cuda/cuda_backend.h"

namespace quench::kernels::cuda {
namespace {

using Before = OperandCall::Before;

// Products of leaves held at once: 4 GiB.
constexpr std::int64_t kLeafValuesMax = std::int64_t{1} << 30;

bool holds_any(const TrianglePanels& layout, std::int64_t* const* panels, std::int64_t first, std::int64_t columns) {
  for (std::int64_t p = first / layout.width; p * layout.width < first + columns; ++p)
    if (panels[p] != nullptr) return true;
  return false;
}

}  // namespace

bool CudaBackend::all_finite(ConstMatrixView x) {
  if (x.rows == 0 || x.cols == 0) return true;
  OperandCall call = begin();
  std::int32_t found = 0;
  const ConstMatrixView from = call.in(x);
  std::int32_t* flag = call.out(&found, 1, Before::keep);
  constexpr std::int64_t rows_max = std::int64_t{65535} * FindNonFinite::kRows;
  for (std::int64_t first = 0; first < x.rows; first += rows_max) {
    const std::int64_t rows = std::min(rows_max, x.rows - first);
    device_->launch(FindNonFinite{from.row_range(first, rows), flag},
                    {blocks(x.cols, kRowThreads), blocks(rows, FindNonFinite::kRows)});
  }
  call.finish();
  return found == 0;
}

void CudaBackend::column_exponents(ConstMatrixView x, std::span<std::int32_t> exponents) {
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(exponents.size()), x.cols);
  if (x.rows == 0 || x.cols == 0) return;
  OperandCall call = begin();
  const ConstMatrixView from = call.in(x);
  std::int32_t* to = call.out(exponents.data(), x.cols, Before::keep);
  // Row blocks are numbered in y: 65535 * 256 rows are more than any call has, but cost nothing to split.
  constexpr std::int64_t rows_max = std::int64_t{65535} * ColumnExponents::kRows;
  for (std::int64_t first = 0; first < x.rows; first += rows_max) {
    const std::int64_t rows = std::min(rows_max, x.rows - first);
    device_->launch(ColumnExponents{from.row_range(first, rows), to},
                    {blocks(x.cols, kRowThreads), blocks(rows, ColumnExponents::kRows)});
  }
  call.finish();
}

void CudaBackend::add_hessian_leaf(ConstMatrixView leaf, const SumScale& scale, const TrianglePanels& layout,
                                   std::int64_t* const* sums) {
  if (leaf.rows > 0) add_hessian_leaves(leaf, leaf.rows, {}, scale, layout, sums);
}

void CudaBackend::add_hessian_leaves(ConstMatrixView x, std::int64_t leaf_tokens, std::span<const std::int32_t> order,
                                     const SumScale& scale, const TrianglePanels& layout, std::int64_t* const* sums) {
  QUENCH_KERNEL_CHECK_EQ(x.cols, layout.columns);
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(scale.exponents.size()), layout.columns);
  QUENCH_KERNEL_CHECK_LE(x.rows, scale.tokens);
  QUENCH_KERNEL_CHECK_LE(1, leaf_tokens);
  QUENCH_KERNEL_CHECK_EQ(LeafStrips::kWidth % layout.width, 0);
  if (x.rows == 0) return;
  if (arithmetic_ == Arithmetic::exact) {
    add_leaves_in_chains(x, leaf_tokens, order, scale, layout, sums);
    return;
  }
  OperandCall call = begin();
  SplitLeaf split;
  const ConstMatrixView from = call.in(x);
  split.order = call.in(order);
  split.exponents = call.in(scale.exponents);
  split.columns = layout.columns;
  // Tensor cores read sixteen bytes at once.
  split.pitch = blocks(layout.columns, 64) * 64;
  split.parts = call.scratch<std::uint16_t>(4 * std::min(leaf_tokens, x.rows) * split.pitch);
  AddLeafStrips add;
  add.strips.columns = layout.columns;
  add.leaf_stride = add.strips.elements();
  add.unit = std::ldexp(1.0, sum_shift(scale.tokens));
  add.layout = layout;
  add.sums = panel_table(call, layout, sums);
  // As many leaves at once as there is room for their products: the sums then pass through the chip once for all of them.
  const std::int64_t leaves = blocks(x.rows, leaf_tokens);
  const std::int64_t at_once =
      std::clamp<std::int64_t>(kLeafValuesMax / add.leaf_stride, 1, std::min<std::int64_t>(leaves, AddLeafStrips::kLeavesMax));
  auto* values = call.scratch<float>(at_once * add.leaf_stride);
  add.values = values;
  for (std::int64_t leaf = 0; leaf < leaves; ++leaf) {
    split.leaf = from.row_range(leaf * leaf_tokens, std::min(leaf_tokens, x.rows - leaf * leaf_tokens));
    const std::int64_t tokens = split.leaf.rows;
    device_->launch(split, {blocks(layout.columns, SplitLeaf::kThreads), tokens});
    float* to = values + leaf % at_once * add.leaf_stride;
    for (std::int64_t strip = 0; strip < add.strips.count(); ++strip) {
      const std::int64_t first = add.strips.first(strip);
      if (!holds_any(layout, sums, first, add.strips.width(strip))) continue;
      device_->multiply_brain(split.parts + first, split.parts + tokens * split.pitch + first, split.pitch, 3 * tokens,
                              MatrixView(to + add.strips.offset(strip), add.strips.rows(strip), add.strips.width(strip),
                                         LeafStrips::kWidth));
    }
    if (leaf % at_once != at_once - 1 && leaf + 1 != leaves) continue;
    add.leaves = static_cast<int>(leaf % at_once + 1);
    device_->launch(add, {blocks(layout.columns, AddLeafStrips::kRows), layout.count()});
  }
  call.finish();
}

void CudaBackend::add_leaves_in_chains(ConstMatrixView x, std::int64_t leaf_tokens, std::span<const std::int32_t> order,
                                       const SumScale& scale, const TrianglePanels& layout, std::int64_t* const* sums) {
  OperandCall call = begin();
  const ConstMatrixView from = call.in(x);
  const std::int32_t* columns = call.in(order);
  auto* gathered = order.empty() ? nullptr : call.scratch<float>(std::min(leaf_tokens, x.rows) * x.cols);
  HessianLeaf work;
  work.exponents = call.in(scale.exponents);
  work.unit = std::ldexp(1.0, sum_shift(scale.tokens));
  work.layout = layout;
  work.sums = panel_table(call, layout, sums);
  for (std::int64_t row = 0; row < x.rows; row += leaf_tokens) {
    work.leaf = from.row_range(row, std::min(leaf_tokens, x.rows - row));
    if (gathered != nullptr) {
      const MatrixView to(gathered, work.leaf.rows, x.cols);
      gather(work.leaf, columns, to);
      work.leaf = to;
    }
    device_->launch(work, {triangle_tiles(blocks(layout.columns, kTileCols))});
  }
  call.finish();
}

void CudaBackend::build_factor_panel(const TrianglePanels& layout, std::int64_t panel,
                                     const std::int64_t* const* sums, const SumScale& scale,
                                     std::span<const std::int32_t> order, double diagonal_add, float* out) {
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(scale.exponents.size()), layout.columns);
  if (!order.empty()) QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(order.size()), layout.columns);
  OperandCall call = begin();
  FactorPanelBuild build;
  build.layout = layout;
  build.panel = panel;
  // In factor order only the panel's own sums are read.
  build.sums = panel_table(call, layout, sums, [&](std::int64_t p) { return !order.empty() || p == panel; });
  build.exponents = call.in(scale.exponents);
  build.order = call.in(order);
  build.unit = std::ldexp(1.0, -sum_shift(scale.tokens));
  build.tokens = static_cast<double>(scale.tokens);
  build.diagonal_add = diagonal_add;
  build.out = call.out(out, layout.elements(panel), Before::unset);
  device_->launch(build, {blocks(layout.elements(panel), FactorPanelBuild::kThreads)});
  call.finish();
}

std::int64_t CudaBackend::factor_panel(const TrianglePanels& layout, std::int64_t panel, float* data,
                                       float* pivots) {
  QUENCH_KERNEL_CHECK_LE(layout.width, FactorDiagonal::kColumnsMax);
  QUENCH_KERNEL_CHECK_EQ(layout.width % 64, 0);
  const std::int64_t first = layout.first_column(panel), columns = layout.column_count(panel);
  OperandCall call = begin();
  float* on_device = call.out(data, layout.elements(panel), Before::keep);
  float* d = call.out(pivots + first, columns, Before::unset);
  std::int32_t failed = -1;
  std::int32_t* status = call.out(&failed, 1, Before::unset);
  device_->launch(FactorDiagonal{on_device, layout.width, columns, d, status}, {1});
  const std::int64_t below = layout.row_count(panel) - columns;
  if (below > 0)
    device_->launch(
        FactorBelow{on_device + columns * layout.width, below, layout.width, columns, on_device, d, status},
        {blocks(below, FactorBelow::kRows)});
  call.finish();
  return failed < 0 ? -1 : first + failed;
}

void CudaBackend::update_panels(const TrianglePanels& layout, std::int64_t source_panel, const float* source,
                                const float* pivots, float* const* targets) {
  update_from(layout, source_panel, std::span(&source, 1), pivots, targets);
}

void CudaBackend::update_panels_by_several(const TrianglePanels& layout, std::int64_t first_source, std::int64_t count,
                                           const float* const* panels, const float* pivots, float* const* targets) {
  update_from(layout, first_source, std::span(panels + first_source, static_cast<std::size_t>(count)), pivots, targets);
}

void CudaBackend::update_from(const TrianglePanels& layout, std::int64_t first_source,
                              std::span<const float* const> sources, const float* pivots, float* const* targets) {
  const auto count = static_cast<std::int64_t>(sources.size());
  const std::int64_t first_column = layout.first_column(first_source);
  PanelUpdate update;
  update.layout = layout;
  update.first_source = first_source;
  update.first = std::min(first_column + count * layout.width, layout.columns);
  update.depth = update.first - first_column;
  const std::int64_t rows = layout.columns - update.first;
  if (rows <= 0) return;
  OperandCall call = begin();
  std::vector<const float*> table;
  for (std::int64_t i = 0; i < count; ++i) table.push_back(call.in(sources[static_cast<std::size_t>(i)], layout.elements(first_source + i)));
  update.sources = call.in(std::span<const float* const>(table));
  update.pivots = call.in(pivots + first_column, update.depth);
  update.targets = panel_table(call, layout, targets, [&](std::int64_t p) { return p >= first_source + count; });
  device_->launch(update, {triangle_tiles(blocks(rows, kTileCols))});
  call.finish();
}

}  // namespace quench::kernels::cuda
