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

// Panels of the Hessian that a block of columns meets while it is in the second-level cache: three times 128 KiB of them
// and 128 KiB of the block for a leaf of 512 tokens.
constexpr std::int64_t kPanelsPerPass = 3;

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

// multiply(tile, row, top) for every block of rows and panel of the triangle that is held, on all threads: `tile` lacks its packed
// columns, which begin at columns `row` and `top`.
template <typename Tile, typename Multiply>
void CpuBackend::for_hessian_tiles(const TrianglePanels& layout, const SumScale& scale, std::int64_t* const* sums,
                                   const Multiply& multiply) noexcept {
  const double unit = std::ldexp(1.0, sum_shift(scale.tokens));
  pool_.run([&](int thread) {
    std::int64_t index = 0;
    for (std::int64_t first = 0; first < layout.count(); first += kPanelsPerPass) {
      for (std::int64_t row = layout.first_column(first); row < layout.columns; row += kHessianBlock, ++index) {
        if (index % pool_.size() != thread) continue;
        for (std::int64_t p = first; p < std::min(first + kPanelsPerPass, layout.count()); ++p) {
          const std::int64_t top = layout.first_column(p);
          if (row < top || sums[p] == nullptr) continue;
          Tile tile;
          tile.rows = std::min(kHessianBlock, layout.columns - row);
          tile.panels = (layout.column_count(p) + 15) / 16;
          tile.unit = unit;
          tile.sums = sums[p] + (row - top) * layout.width;
          tile.stride = layout.width;
          multiply(tile, row, top);
        }
      }
    }
  });
}

// pack(first, count) for every block of columns, on all threads; `factors` are powers of two by column.
template <typename Pack>
void CpuBackend::pack_hessian_blocks(const SumScale& scale, std::int64_t columns, float* factors, const Pack& pack) noexcept {
  for (std::int64_t c = 0; c < columns; ++c) {
    factors[c] = static_cast<float>(std::ldexp(1.0, -scale.exponents[static_cast<std::size_t>(c)]));
  }
  pool_.for_range((columns + kHessianBlock - 1) / kHessianBlock, 1, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t first = block * kHessianBlock;
      pack(first, std::min(kHessianBlock, columns - first));
    }
  });
}

void CpuBackend::add_hessian_leaf(ConstMatrixView leaf, const SumScale& scale, const TrianglePanels& layout,
                                  std::int64_t* const* sums) noexcept {
  QUENCH_KERNEL_CHECK_EQ(leaf.cols, layout.columns);
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(scale.exponents.size()), layout.columns);
  QUENCH_KERNEL_CHECK_LE(leaf.rows, scale.tokens);
  if (leaf.rows == 0) return;
  if (products_ == Products::bf16) return add_brain_leaf(leaf, scale, layout, sums);
  const std::int64_t tokens = leaf.rows, columns = leaf.cols;
  const std::int64_t lane_panels = (columns + 15) / 16;
  // [factors][columns as rows of a tile][columns as lanes]
  float* factors = shared_.floats(lane_panels * 16 + tokens * columns + tokens * lane_panels * 16);
  float* as_rows = factors + lane_panels * 16;
  float* as_lanes = as_rows + tokens * columns;
  pack_hessian_blocks(scale, columns, factors, [&](std::int64_t first, std::int64_t count) {
    table_.pack_block(leaf.data + first, leaf.stride, tokens, count, factors + first, as_rows + first * tokens);
    table_.pack_lanes(leaf.data + first, leaf.stride, tokens, count, factors + first, as_lanes + first * tokens);
  });
  for_hessian_tiles<HessianTile>(layout, scale, sums, [&](HessianTile& tile, std::int64_t row, std::int64_t top) {
    tile.a = as_rows + row * tokens;
    tile.b = as_lanes + top * tokens;
    tile.tokens = tokens;
    table_.hessian_tile(tile);
  });
}

void CpuBackend::add_brain_leaf(ConstMatrixView leaf, const SumScale& scale, const TrianglePanels& layout,
                                std::int64_t* const* sums) noexcept {
  const std::int64_t columns = leaf.cols, words = (leaf.rows + 1) / 2;
  const std::int64_t lane_panels = (columns + 15) / 16;
  float* factors = shared_.floats(lane_panels * 16);
  auto* as_rows = reinterpret_cast<std::uint32_t*>(shared_second_.floats(words * (columns + lane_panels * 16)));
  std::uint32_t* as_lanes = as_rows + words * columns;
  pack_hessian_blocks(scale, columns, factors, [&](std::int64_t first, std::int64_t count) {
    table_.brain_columns(leaf.data + first, leaf.stride, leaf.rows, count, factors + first, as_rows + first * words);
    table_.brain_lanes(leaf.data + first, leaf.stride, leaf.rows, count, factors + first, as_lanes + first * words);
  });
  for_hessian_tiles<BrainHessianTile>(layout, scale, sums, [&](BrainHessianTile& tile, std::int64_t row, std::int64_t top) {
    tile.a = as_rows + row * words;
    tile.b = as_lanes + top * words;
    tile.words = words;
    table_.brain_hessian_tile(tile);
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
      if (order.empty() && i >= columns && columns == layout.width) {
        const std::int64_t* from = sums[panel] + i * layout.width;
        const double* power_b = powers.data() + first;
        for (std::int64_t j = 0; j < columns; ++j) {
          to[j] = static_cast<float>(static_cast<double>(from[j]) * (power_a * power_b[j]) / tokens);
        }
        continue;
      }
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
  update(layout, source_panel, {&source, 1}, pivots, targets);
}

void CpuBackend::update_panels_by_several(const TrianglePanels& layout, std::int64_t first_source,
                                          std::int64_t count, const float* const* panels, const float* pivots,
                                          float* const* targets) noexcept {
  update(layout, first_source, {panels + first_source, static_cast<std::size_t>(count)}, pivots, targets);
}

// Targets begin behind the last source. Of the sources what is below that is packed twice, side by side in rising order: L
// as the rows of a product, -D L as its lanes. A target's rows are then taken in chunks, one chain over all sources each.
void CpuBackend::update(const TrianglePanels& layout, std::int64_t first_source, std::span<const float* const> sources,
                        const float* pivots, float* const* targets) noexcept {
  const auto count = static_cast<std::int64_t>(sources.size());
  const std::int64_t behind = first_source + count;  // the first target
  if (behind >= layout.count()) return;
  const std::int64_t width = layout.width;  // of every source: only the last panel is narrower
  const std::int64_t first = layout.first_column(behind), rows = layout.columns - first;
  const auto below = [&](std::int64_t s) {
    return sources[static_cast<std::size_t>(s)] + layout.index(first_source + s, first, layout.first_column(first_source + s));
  };
  const std::int64_t lane_panels = (rows + 15) / 16, depth = count * width;
  float* lanes = shared_.floats(lane_panels * 16 * depth);   // [lane panel][depth][16]
  float* packed = shared_second_.floats(rows * depth);  // micro-panels of [depth][rows of it]
  const std::int64_t group = table_.gemm_rows;
  pool_.for_range(lane_panels, 16, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t s = 0; s < count; ++s) {
      const float* source = below(s);
      const float* d = pivots + layout.first_column(first_source + s);
      for (std::int64_t i = begin * 16; i < end * 16; ++i) {
        float* to = lanes + (i / 16 * depth + s * width) * 16 + i % 16;
        for (std::int64_t k = 0; k < width; ++k) to[k * 16] = i < rows ? -(source[i * width + k] * d[k]) : 0.0f;
      }
    }
  });
  const auto pack = [&](std::int64_t row, std::int64_t some, float* out) {
    for (std::int64_t done = 0, used = 0; done < some; done += used) {
      used = micro_panel_rows(some - done, group);
      for (std::int64_t s = 0; s < count; ++s) {
        table_.pack_rows(below(s) + (row + done) * width, width, used, width, out + done * depth + s * width * used);
      }
    }
  };
  pool_.for_range((rows + group - 1) / group, 16, [&](int, std::int64_t begin, std::int64_t end) {
    const std::int64_t row = begin * group;
    pack(row, std::min(end * group, rows) - row, packed + row * depth);
  });
  pool_.run([&](int thread) {
    GemmBlock block;
    block.k_count = depth;
    block.weight.format = WeightFormat::f32;
    block.weight.cols = depth;
    block.y_stride = width;
    block.carry = true;
    Scratch& own = own_[static_cast<std::size_t>(thread)];
    std::int64_t index = 0;
    for (std::int64_t q = behind; q < layout.count(); ++q) {
      if (targets[q] == nullptr) continue;
      const std::int64_t top = layout.first_column(q) - first;  // among the rows below
      block.weight.rows = layout.column_count(q);
      block.panel_begin = 0;
      block.panel_end = panel_count(block.weight.rows);
      block.weight.panels = lanes + top * depth;
      // The packed groups start at `first`, a target need not: its rows up to the next group are packed
      // apart. The last two groups are cut evenly, so near the end all of them are.
      std::int64_t aligned = (top + group - 1) / group * group;
      if (rows - aligned < 2 * group) aligned = rows;
      if (aligned > top && index++ % pool_.size() == thread) {
        float* head = own.floats((aligned - top) * depth);
        pack(top, aligned - top, head);
        block.packed = head;
        block.rows = aligned - top;
        block.y = targets[q];
        table_.gemm_block(block);
      }
      const std::int64_t chunk = group * (kChunkRows / group);
      for (std::int64_t row = aligned, some = 0; row < rows; row += some, ++index) {
        some = rows - row < chunk + 2 * group ? rows - row : chunk;
        if (index % pool_.size() != thread) continue;
        block.rows = some;
        block.y = targets[q] + (row - top) * width;
        block.packed = packed + row * depth;
        table_.gemm_block(block);
      }
    }
  });
}

}  // namespace quench::kernels
