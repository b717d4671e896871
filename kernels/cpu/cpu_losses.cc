// What quantizing lost, on threads: quadratic forms with the Hessian.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/transpose_panel.h"

namespace quench::kernels {
namespace {

// Rows of H whose products are added up before they are folded into a sum in double: part of the result.
constexpr std::int64_t kBlockColumns = 256;

struct Lanes { float v[16]; };

// Rows [first_row, first_row + count) of a panel of H as the rows' side of a product, columns being its rows:
// micro-panels of [count][columns of it]. Nothing above the diagonal, half of it.
void pack_triangle(const float* panel, std::int64_t width, std::int64_t first_row, std::int64_t count,
                   std::int64_t columns, std::int64_t group, float* out) {
  for (std::int64_t j = 0, used = 0; j < columns; j += used) {
    used = micro_panel_rows(columns - j, group);
    for (std::int64_t i = first_row; i < first_row + count; ++i) {
      const float* from = panel + i * width + j;
      if (i > j + used - 1) {
        for (std::int64_t c = 0; c < used; ++c) out[c] = from[c];
      } else {
        for (std::int64_t c = 0; c < used; ++c) out[c] = i > j + c ? from[c] : i == j + c ? 0.5f * from[c] : 0.0f;
      }
      out += used;
    }
  }
}

}  // namespace

// Δ H Δᵀ = 2 sum over j of Δ_j (H_jj / 2 Δ_j + sum over i>j of H_ij Δ_i): per panel of H a matrix product with
// its transpose, in blocks of kBlockColumns rows i, each block's products folded into the sums in double. So what
// is rounded to fp32 is a chain of at most kBlockColumns products, and w and Δ share H's passage through the cache.
void CpuBackend::quadratic_losses(ConstMatrixView w, ConstMatrixView dequantized,
                                  const TrianglePanels& layout, const float* const* hessian,
                                  std::span<double> numerators, std::span<double> denominators) noexcept {
  QUENCH_KERNEL_CHECK_EQ(w.cols, layout.columns);
  QUENCH_KERNEL_CHECK_EQ(w.rows, dequantized.rows);
  QUENCH_KERNEL_CHECK_EQ(w.cols, dequantized.cols);
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(numerators.size()), w.rows);
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(denominators.size()), w.rows);
  const std::int64_t columns = w.cols, panels = panel_count(w.rows), width = layout.width;
  // Panels of Δ, then panels of w: [2 * panels][C][16].
  float* vectors = solver_errors_.floats(2 * panels * columns * 16);
  pool_.for_range(panels, 1, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) {
      float* difference = vectors + p * columns * 16;
      float* weight = vectors + (panels + p) * columns * 16;
      transpose_panel(dequantized, p, difference, 16);
      transpose_panel(w, p, weight, 16);
      for (std::int64_t i = 0; i < columns * 16; ++i) difference[i] = weight[i] - difference[i];
    }
  });
  std::vector<double> sums(static_cast<std::size_t>(2 * panels * 16), 0.0);
  for (std::int64_t p = 0; p < layout.count(); ++p) {
    const std::int64_t first = layout.first_column(p), count = layout.column_count(p), rows = layout.row_count(p);
    const std::int64_t blocks = (rows + kBlockColumns - 1) / kBlockColumns;
    float* packed = shared_.floats(rows * count);
    pool_.for_range(blocks, 1, [&](int, std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin * kBlockColumns; i < std::min(end * kBlockColumns, rows); i += kBlockColumns) {
        pack_triangle(hessian[p], width, i, std::min(kBlockColumns, rows - i), count, table_.gemm_rows,
                      packed + i * count);
      }
    });
    const std::int64_t side = table_.gemm_panels;
    pool_.for_range((2 * panels + side - 1) / side, 1, [&](int thread, std::int64_t begin, std::int64_t end) {
      float* products = own_[static_cast<std::size_t>(thread)].floats(count * 16 * side);
      GemmBlock block;
      block.rows = count;
      block.weight.format = WeightFormat::f32;
      block.weight.rows = 2 * panels * 16;
      block.weight.cols = columns;
      block.weight.panels = vectors;
      block.y_stride = 16 * side;
      for (std::int64_t i = 0; i < rows; i += kBlockColumns) {
        block.k_begin = first + i;
        block.k_count = std::min(kBlockColumns, rows - i);
        block.packed = packed + i * count;
        for (std::int64_t q = begin * side; q < std::min(end * side, 2 * panels); q += side) {
          block.panel_begin = q;
          block.panel_end = std::min(q + side, 2 * panels);
          block.y = products - q * 16;
          table_.gemm_block(block);
          for (std::int64_t r = q; r < block.panel_end; ++r) {
            table_.fold_products({products + (r - q) * 16, block.y_stride, vectors + (r * columns + first) * 16,
                                  count, &sums[static_cast<std::size_t>(r * 16)]});
          }
        }
      }
    });
  }
  for (std::int64_t row = 0; row < w.rows; ++row) {
    const auto at = static_cast<std::size_t>(row);
    numerators[at] = 2.0 * sums[at];
    denominators[at] = 2.0 * sums[static_cast<std::size_t>(panels * 16) + at];
  }
}

// Threads share out panels of sixteen rows; a panel of H is packed once for all of them.
void CpuBackend::row_energies(ConstMatrixView w, const TrianglePanels& layout, const float* const* hessian,
                              std::span<double> energies) {
  const std::int64_t columns = w.cols, panels = panel_count(w.rows), pairs = (columns + 1) / 2, stride = pairs * 16;
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  std::vector<float> roots(at(columns)), inverses(at(columns + 16)), row_factors(at(columns));
  for (std::int64_t p = 0; p < layout.count(); ++p) {
    for (std::int64_t i = 0; i < layout.column_count(p); ++i) {
      const std::int64_t column = layout.first_column(p) + i;
      const float root = std::sqrt(std::max(hessian[p][layout.index(p, column, column)], 0.0f));
      roots[at(column)] = root;
      inverses[at(column)] = root > 0 ? 1.0f / root : 0.0f;
      row_factors[at(column)] = root > 0 ? static_cast<float>(kPairMax) / root : 0.0f;
    }
  }
  auto* vectors = reinterpret_cast<std::int32_t*>(solver_errors_.floats(panels * stride));
  std::vector<double> squares(at(panels * 16)), sums(at(panels * 16), 0.0);
  std::vector<float> units(at(panels * 16));
  pool_.for_range(panels, 1, [&](int thread, std::int64_t begin, std::int64_t end) {
    float* lanes = own_[at(thread)].floats(columns * 16);
    for (std::int64_t p = begin; p < end; ++p) {
      transpose_panel(w, p, lanes, 16);
      std::reverse(reinterpret_cast<Lanes*>(lanes), reinterpret_cast<Lanes*>(lanes) + columns);
      table_.scale_rows({lanes, roots.data(), columns, vectors + p * stride, &squares[at(p * 16)], &units[at(p * 16)]});
    }
  });
  for (std::int64_t p = 0; p < layout.count(); ++p) {
    const std::int64_t first = layout.first_column(p), count = layout.column_count(p), rows = layout.row_count(p);
    const std::int64_t blocks = (rows + kBlockColumns - 1) / kBlockColumns;
    const std::int64_t block_words = kBlockColumns / 2 * count + 16;
    auto* packed = reinterpret_cast<std::int32_t*>(shared_.floats(blocks * block_words));
    pool_.for_range(blocks, 1, [&](int, std::int64_t begin, std::int64_t end) {
      for (std::int64_t b = begin; b < end; ++b) {
        const std::int64_t i = b * kBlockColumns;
        table_.pack_correlations({hessian[p], layout.width, count, i, std::min(kBlockColumns, rows - i), &row_factors[at(first)],
                                  &inverses[at(first)], packed + b * block_words});
      }
    });
    const std::int64_t side = table_.gemm_panels;
    pool_.for_range((panels + side - 1) / side, 1, [&](int, std::int64_t begin, std::int64_t end) {
      for (std::int64_t b = 0; b < blocks; ++b) {
        const std::int64_t i = b * kBlockColumns;
        for (std::int64_t q = begin * side; q < std::min(end * side, panels); q += side) {
          const std::int32_t* from = vectors + q * stride;
          table_.correlation_products({packed + b * block_words, (std::min(kBlockColumns, rows - i) + 1) / 2, count,
                                       from + (first + i) * 8, from + first * 8, stride, std::min(side, panels - q),
                                       &sums[at(q * 16)]});
        }
      }
    });
  }
  for (std::int64_t row = 0; row < w.rows; ++row) {
    const double unit = units[at(row)];
    energies[at(row)] = squares[at(row)] + 2.0 * sums[at(row)] * (unit * unit / kPairMax);
  }
}

// With the damped Hessian H + damping, ΔHΔᵀ is what the solver summed (gptq.h) less damping times |Δ|².
void CpuBackend::solved_losses(ConstMatrixView w, std::int64_t /*tile_rows*/, const SolveOutput& solved, double damping,
                               const TrianglePanels& layout, const float* const* hessian, std::span<double> losses,
                               std::span<double> energies) noexcept {
  QUENCH_KERNEL_CHECK_EQ(w.cols, layout.columns);
  QUENCH_KERNEL_CHECK_EQ(w.rows, solved.dequantized.rows);
  QUENCH_KERNEL_CHECK_EQ(w.cols, solved.dequantized.cols);
  QUENCH_KERNEL_CHECK_EQ(solved.losses == nullptr, false);
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(losses.size()), w.rows);
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(energies.size()), w.rows);
  pool_.for_range(w.rows, 16, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      double parts[8] = {};
      for (std::int64_t k = 0; k < w.cols; ++k) {
        const double difference = static_cast<double>(w.row(row)[k] - solved.dequantized.row(row)[k]);
        parts[k % 8] += difference * difference;
      }
      const double sum = ((parts[0] + parts[1]) + (parts[2] + parts[3])) + ((parts[4] + parts[5]) + (parts[6] + parts[7]));
      losses[static_cast<std::size_t>(row)] = std::max(solved.losses[row] - damping * sum, 0.0);
    }
  });
  row_energies(w, layout, hessian, energies);
}

}  // namespace quench::kernels
