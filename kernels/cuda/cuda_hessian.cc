// Exact Hessian sums and the blocked LDLᵀ on a device.
#include <cmath>

#include "kernels/cuda/cuda_backend.h"

namespace quench::kernels::cuda {
namespace {

using Before = OperandCall::Before;

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
  QUENCH_KERNEL_CHECK_EQ(leaf.cols, layout.columns);
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(scale.exponents.size()), layout.columns);
  QUENCH_KERNEL_CHECK_LE(leaf.rows, scale.tokens);
  if (leaf.rows == 0) return;
  OperandCall call = begin();
  HessianLeaf work;
  work.leaf = call.in(leaf);
  work.exponents = call.in(scale.exponents);
  work.unit = std::ldexp(1.0, sum_shift(scale.tokens));
  work.layout = layout;
  work.sums = panel_table(call, layout, sums);
  if (arithmetic_ == Arithmetic::tensor)
    device_->add_leaf_split(work);
  else
    device_->launch(work, {triangle_tiles(blocks(layout.columns, kTileCols))});
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
  const std::int64_t width = layout.column_count(source_panel);
  PanelUpdate update;
  update.layout = layout;
  update.first = layout.first_column(source_panel) + width;
  update.depth = width;
  const std::int64_t rows = layout.columns - update.first;
  if (rows <= 0) return;
  OperandCall call = begin();
  update.below = call.in(source, layout.elements(source_panel)) + width * layout.width;
  update.pivots = call.in(pivots + layout.first_column(source_panel), width);
  update.targets = panel_table(call, layout, targets, [&](std::int64_t p) { return p > source_panel; });
  device_->launch(update, {triangle_tiles(blocks(rows, kTileCols))});
  call.finish();
}

}  // namespace quench::kernels::cuda
