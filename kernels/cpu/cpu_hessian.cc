// Exact Hessian sums and the blocked LDLᵀ on threads.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cpu/cpu_backend.h"

namespace quench::kernels {
namespace {

// Rows of a panel a thread takes at a time; a multiple of every table's row counts.
constexpr std::int64_t kChunkRows = 192;

// Smallest e >= -126 with value < 2^e, for value >= 0.
std::int32_t exponent_above(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const std::int32_t biased = static_cast<std::int32_t>(bits >> 23);
  return std::max(biased - 126, -126);
}

}  // namespace

void CpuBackend::column_exponents(ConstMatrixView x, std::span<std::int32_t> exponents) noexcept {
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(exponents.size()), x.cols);
  float* max = shared_.floats(x.cols);
  const std::int64_t units = (x.cols + 15) / 16;
  pool_.for_range(units, 4, [&](int, std::int64_t begin, std::int64_t end) {
    const std::int64_t first = begin * 16, count = std::min(end * 16, x.cols) - first;
    std::memset(max + first, 0, static_cast<std::size_t>(count) * sizeof(float));
    table_.absolute_max(x.data + first, x.stride, x.rows, count, max + first);
    for (std::int64_t c = first; c < first + count; ++c) {
      std::int32_t& exponent = exponents[static_cast<std::size_t>(c)];
      exponent = std::max(exponent, exponent_above(max[c]));
    }
  });
}

void CpuBackend::add_hessian_leaf(ConstMatrixView leaf, const SumScale& scale, const TrianglePanels& layout,
                                  std::int64_t* const* sums) noexcept {
  QUENCH_KERNEL_CHECK_EQ(leaf.cols, layout.columns);
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(scale.exponents.size()), layout.columns);
  QUENCH_KERNEL_CHECK_LE(leaf.rows, scale.tokens);
  if (leaf.rows == 0) return;
  const std::int64_t tokens = leaf.rows, columns = leaf.cols;
  const std::int64_t lane_panels = (columns + 15) / 16;
  // [factors][columns as rows of a tile][columns as lanes]
  float* factors = shared_.floats((columns + 15) / 16 * 16 + tokens * columns + tokens * lane_panels * 16);
  float* as_rows = factors + lane_panels * 16;
  float* as_lanes = as_rows + tokens * columns;
  for (std::int64_t c = 0; c < columns; ++c) {
    factors[c] = static_cast<float>(std::ldexp(1.0, -scale.exponents[static_cast<std::size_t>(c)]));
  }
  pool_.for_range(lane_panels, 4, [&](int, std::int64_t begin, std::int64_t end) {
    const std::int64_t first = begin * 16, count = std::min(end * 16, columns) - first;
    table_.pack_columns(leaf.data + first, leaf.stride, tokens, count, factors + first, table_.hessian_rows,
                        false, as_rows + first * tokens);
    table_.pack_columns(leaf.data + first, leaf.stride, tokens, count, factors + first, 16, true,
                        as_lanes + first * tokens);
  });
  const double unit = std::ldexp(1.0, sum_shift(scale.tokens));
  pool_.run([&](int thread) {
    std::int64_t index = 0;
    for (std::int64_t p = 0; p < layout.count(); ++p) {
      if (sums[p] == nullptr) continue;
      const std::int64_t top = layout.first_column(p);
      for (std::int64_t row = top; row < columns; row += kChunkRows, ++index) {
        if (index % pool_.size() != thread) continue;
        const std::int64_t row_end = std::min(row + kChunkRows, columns);
        const std::int64_t panels = (layout.column_count(p) + 15) / 16;
        for (std::int64_t panel = 0; panel < panels; panel += table_.gemm_panels) {
          HessianTile tile;
          tile.b = as_lanes + (top + panel * 16) * tokens;
          tile.panels = std::min(table_.gemm_panels, panels - panel);
          tile.tokens = tokens;
          tile.unit = unit;
          tile.stride = layout.width;
          for (std::int64_t i = row; i < row_end; i += table_.hessian_rows) {
            tile.a = as_rows + i * tokens;
            tile.rows = std::min(table_.hessian_rows, columns - i);
            tile.sums = sums[p] + (i - top) * layout.width + panel * 16;
            table_.hessian_tile(tile);
          }
        }
      }
    }
  });
}

void CpuBackend::build_factor_panel(const TrianglePanels& layout, std::int64_t panel,
                                    const std::int64_t* const* sums, const SumScale& scale,
                                    std::span<const std::int32_t> order, double diagonal_add,
                                    float* out) noexcept {
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(scale.exponents.size()), layout.columns);
  if (!order.empty()) QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(order.size()), layout.columns);
  const std::int64_t first = layout.first_column(panel), columns = layout.column_count(panel);
  // Powers of two multiply exactly: 2^e by column, and the unit of the sums.
  std::vector<double> powers(static_cast<std::size_t>(layout.columns));
  for (std::size_t c = 0; c < powers.size(); ++c) powers[c] = std::ldexp(1.0, scale.exponents[c]);
  const double unit = std::ldexp(1.0, -sum_shift(scale.tokens));
  const double tokens = static_cast<double>(scale.tokens);
  pool_.for_range(layout.row_count(panel), 64, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t a = first + i;
      const std::int64_t original_a = order.empty() ? a : order[static_cast<std::size_t>(a)];
      const double power_a = powers[static_cast<std::size_t>(original_a)] * unit;
      float* to = out + i * layout.width;
      for (std::int64_t j = 0; j < layout.width; ++j) {
        if (j >= columns) {
          to[j] = 0.0f;
          continue;
        }
        const std::int64_t b = first + j;
        const std::int64_t original_b = order.empty() ? b : order[static_cast<std::size_t>(b)];
        const std::int64_t row = std::max(original_a, original_b), col = std::min(original_a, original_b);
        const std::int64_t from = col / layout.width;
        const std::int64_t sum = sums[from][layout.index(from, row, col)];
        double value =
            static_cast<double>(sum) * (power_a * powers[static_cast<std::size_t>(original_b)]) / tokens;
        if (a == b) value += diagonal_add;
        to[j] = static_cast<float>(value);
      }
    }
  });
}

std::int64_t CpuBackend::factor_panel(const TrianglePanels& layout, std::int64_t panel, float* data,
                                      float* pivots) noexcept {
  QUENCH_KERNEL_CHECK_LE(layout.width, 128);
  QUENCH_KERNEL_CHECK_EQ(layout.width % 64, 0);
  const std::int64_t first = layout.first_column(panel), columns = layout.column_count(panel);
  const std::int64_t failed = table_.factor_diagonal(data, layout.width, columns, pivots + first);
  if (failed >= 0) return first + failed;
  const std::int64_t below = layout.row_count(panel) - columns;
  pool_.for_range((below + 63) / 64, 1, [&](int thread, std::int64_t begin, std::int64_t end) {
    FactorRows rows;
    rows.data = data + (columns + begin * 64) * layout.width;
    rows.rows = std::min(end * 64, below) - begin * 64;
    rows.stride = layout.width;
    rows.columns = columns;
    rows.diagonal = data;
    rows.pivots = pivots + first;
    rows.scratch = own_[static_cast<std::size_t>(thread)].floats(columns * 64);
    table_.factor_rows(rows);
  });
  return -1;
}

void CpuBackend::update_panels(const TrianglePanels& layout, std::int64_t source_panel, const float* source,
                               const float* pivots, float* const* targets) noexcept {
  const std::int64_t width = layout.column_count(source_panel);
  const std::int64_t first = layout.first_column(source_panel) + width;
  const std::int64_t rows = layout.columns - first;
  if (rows <= 0) return;
  const float* below = source + width * layout.width;
  const std::int64_t lane_panels = (rows + 15) / 16;
  // -D L of all rows below as lanes: [lane panel][width][16].
  float* lanes = shared_.floats(lane_panels * 16 * width);
  float* packed = shared_second_.floats(rows * width);
  const float* d = pivots + layout.first_column(source_panel);
  const std::int64_t group = table_.gemm_rows;
  pool_.for_range(lane_panels, 16, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * 16; i < end * 16; ++i) {
      float* to = lanes + i / 16 * 16 * width + i % 16;
      for (std::int64_t k = 0; k < width; ++k) {
        to[k * 16] = i < rows ? -(below[i * layout.width + k] * d[k]) : 0.0f;
      }
    }
  });
  pool_.for_range((rows + group - 1) / group, 16, [&](int, std::int64_t begin, std::int64_t end) {
    const std::int64_t row = begin * group, count = std::min(end * group, rows) - row;
    table_.pack_rows(below + row * layout.width, layout.width, count, width, packed + row * width);
  });
  pool_.run([&](int thread) {
    GemmBlock block;
    block.k_count = width;
    block.weight.format = WeightFormat::f32;
    block.weight.cols = width;
    block.y_stride = layout.width;
    block.carry = true;
    Scratch& own = own_[static_cast<std::size_t>(thread)];
    std::int64_t index = 0;
    for (std::int64_t q = source_panel + 1; q < layout.count(); ++q) {
      if (targets[q] == nullptr) continue;
      const std::int64_t top = layout.first_column(q) - first;  // among the rows below
      block.weight.rows = layout.column_count(q);
      block.weight.panels = lanes + top * width;
      block.panel_begin = 0;
      block.panel_end = panel_count(block.weight.rows);
      // The packed groups start at `first`, a target need not: its rows up to the next group are packed
      // apart.
      const std::int64_t aligned = std::min((top + group - 1) / group * group, rows);
      if (aligned > top && index++ % pool_.size() == thread) {
        float* head = own.floats(group * width);
        table_.pack_rows(below + top * layout.width, layout.width, aligned - top, width, head);
        block.packed = head;
        block.rows = aligned - top;
        block.y = targets[q];
        table_.gemm_block(block);
      }
      const std::int64_t chunk = group * (kChunkRows / group);
      for (std::int64_t row = aligned; row < rows; row += chunk, ++index) {
        if (index % pool_.size() != thread) continue;
        block.packed = packed + row * width;
        block.rows = std::min(chunk, rows - row);
        block.y = targets[q] + (row - top) * layout.width;
        table_.gemm_block(block);
      }
    }
  });
}

}  // namespace quench::kernels
