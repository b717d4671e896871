// Quadratic losses. LossProducts and LossFold have the CPU's bits; the rest gives what solved_losses wants on tensor cores.
#pragma once

#include "kernels/cuda/hessian.h"
#include "kernels/cuda/tile_product.h"
#include "kernels/hessian.h"
#include "kernels/tensor_view.h"

namespace quench::kernels::cuda {

// What quadratic losses multiply with H: w - dequantized, or w alone.
struct LossVectors {
  ConstMatrixView w;
  ConstMatrixView dequantized;

  QUENCH_DEVICE float at(bool difference, std::int64_t row, std::int64_t column) const {
    const float weight = w.data[row * w.stride + column];
    return difference ? weight - dequantized.data[row * dequantized.stride + column] : weight;
  }
};

// Rows of H whose products are one fp32 chain.
inline constexpr std::int64_t kLossRows = 256;

// Δ H Δᵀ = 2 Σ_j Δ_j (H_jj / 2 Δ_j + Σ_{i>j} H_ij Δ_i): the inner sum of each column j over kLossRows rows i of a panel, one
// chain from 0. Grid: x tiles of 128 rows of w, y blocks of rows of H, z = (panel * width / 64 + half panel) * 2 + which
// (0: Δ, 1: w), counted from `first_panel`. A panel's products lie [y block][which][width][w.rows].
struct LossProducts {
  static constexpr int kThreads = kTileThreads;
  static constexpr int kColumns = 64;
  using Shared = TileShared<4>;
  LossVectors vectors;
  TrianglePanels layout;
  const float* const* hessian = nullptr;
  std::int64_t first_panel = 0;
  std::int64_t row_blocks = 0;  // of the first panel, the tallest
  float* products = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const std::int64_t halves = layout.width / kColumns, rows = vectors.w.rows;
    const bool difference = group.z() % 2 == 0;
    const std::int64_t panel = first_panel + group.z() / 2 / halves, j0 = group.z() / 2 % halves * kColumns;
    const std::int64_t begin = group.y() * kLossRows, row0 = group.x() * kTileCols;
    if (begin >= layout.row_count(panel) || j0 >= layout.column_count(panel)) return;
    const std::int64_t left = layout.row_count(panel) - begin, first = layout.first_column(panel);
    const float* from = hessian[panel];
    typename Group::template Local<TileSums<4>> sums(group);
    group.each([&](int thread) { sums[thread] = {}; });
    multiply_tile<4, LoadOrder::index_first, LoadOrder::depth_first>(
        group, shared, sums, left < kLossRows ? left : kLossRows,
        [&](int col) {
          return [&, j = line_inside(j0 + col, layout.column_count(panel))](std::int64_t k) {
            const std::int64_t i = begin + k;
            const float value = from[i * layout.width + j];
            return i < j ? 0.0f : i == j ? 0.5f * value : value;
          };
        },
        [&](std::int64_t k) {
          return [&, column = first + begin + k](int row) {
            return vectors.at(difference, line_inside(row0 + row, rows), column);
          };
        },
        NoLimit{});
    float* to = products + (((panel - first_panel) * row_blocks + group.y()) * 2 + group.z() % 2) * layout.width * rows;
    group.each([&](int thread) {
      QUENCH_UNROLL
      for (int i = 0; i < 4; ++i) {
        QUENCH_UNROLL
        for (int j = 0; j < 8; ++j) {
          const std::int64_t col = j0 + tile_row<4>(thread, i), row = row0 + tile_col(thread, j);
          if (col < layout.column_count(panel) && row < rows) to[col * rows + row] = sums[thread].v[i][j];
        }
      }
    });
  }
};

// sums[which][row] += products * Δ_j in double, panel after panel, block after block, column after column. Grid: x blocks
// of rows, y which.
struct LossFold {
  static constexpr int kThreads = 64;
  struct Shared {};
  LossProducts from;
  std::int64_t panels = 0;  // from first_panel on
  double factor = 1.0;      // 2 with the last panels
  double* sums = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    group.each([&](int thread) {
      const std::int64_t row = group.x() * kThreads + thread, rows = from.vectors.w.rows;
      if (row >= rows) return;
      double sum = sums[group.y() * rows + row];
      for (std::int64_t p = 0; p < panels; ++p) {
        const std::int64_t panel = from.first_panel + p;
        for (std::int64_t block = 0; block * kLossRows < from.layout.row_count(panel); ++block) {
          const float* products =
              from.products + ((p * from.row_blocks + block) * 2 + group.y()) * from.layout.width * rows + row;
          for (std::int64_t j = 0; j < from.layout.column_count(panel); ++j) {
            const float vector = from.vectors.at(group.y() == 0, row, from.layout.first_column(panel) + j);
            sum = fused(static_cast<double>(products[j * rows]), static_cast<double>(vector), sum);
          }
        }
      }
      sums[group.y() * rows + row] = sum * factor;
    });
  }
};

// Columns [first, first + width) of H's strict lower triangle as rows, 0 on and above the diagonal, and its diagonal:
// strip[j][i - first] = H_ij, so that w times it is what a column's elements below the diagonal add. Grid: x tiles of 32
// columns i, y of 32 columns j. Reads and writes side by side through a transposed tile.
struct LowerStrip {
  static constexpr int kThreads = 256;
  struct Shared {
    float tile[32][33];
  };
  TrianglePanels layout;
  const float* const* hessian = nullptr;
  std::int64_t first = 0;
  std::int64_t width = 0;
  std::int64_t pitch = 0;
  float* strip = nullptr;     // [width][pitch]
  float* diagonal = nullptr;  // [width]

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const std::int64_t i0 = first + group.x() * 32, j0 = first + group.y() * 32;
    group.each([&](int thread) {
      const std::int64_t j = j0 + thread % 32;
      for (int row = thread / 32; row < 32; row += 8) {
        const std::int64_t i = i0 + row;
        float value = 0.0f;
        if (j < first + width && i < layout.columns && i >= j) {
          const std::int64_t panel = panel_of(layout, j);
          value = hessian[panel][layout.index(panel, i, j)];
          if (i == j) {
            diagonal[j - first] = value;
            value = 0.0f;
          }
        }
        shared.tile[row][thread % 32] = value;
      }
    });
    group.each([&](int thread) {
      const std::int64_t i = i0 + thread % 32;
      for (int row = thread / 32; row < 32; row += 8) {
        const std::int64_t j = j0 + row;
        if (j < first + width && i < layout.columns) strip[(j - first) * pitch + i - first] = shared.tile[thread % 32][row];
      }
    });
  }
};

// The sum of a block's doubles in a fixed tree, in values[0].
template <int Threads, typename Group>
QUENCH_DEVICE void sum_of_block(Group& group, double* values) {
  for (int width = Threads / 2; width > 0; width /= 2)
    group.each([&](int thread) {
      if (thread < width) values[thread] += values[thread + width];
    });
}

// energies[row] += Σ_j w_j (H_jj w_j + 2 products_j) over a strip's columns, w in the order of H. Grid: x rows.
struct EnergyFold {
  static constexpr int kThreads = 256;
  struct Shared {
    double sums[kThreads];
  };
  ConstMatrixView w;         // [rows, width]
  ConstMatrixView products;  // [rows, width]
  const float* diagonal = nullptr;
  double* energies = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const std::int64_t row = group.x();
    group.each([&](int thread) {
      double sum = 0.0;
      for (std::int64_t j = thread; j < w.cols; j += kThreads) {
        const double weight = w.data[row * w.stride + j];
        sum += weight * fused(static_cast<double>(diagonal[j]), weight,
                              2.0 * static_cast<double>(products.data[row * products.stride + j]));
      }
      shared.sums[thread] = sum;
    });
    sum_of_block<kThreads>(group, shared.sums);
    group.each([&](int thread) {
      if (thread == 0) energies[row] += shared.sums[0];
    });
  }
};

// losses[row] = what the solver summed less damping |Δ|², not below 0. Grid: x rows.
struct DampedLosses {
  static constexpr int kThreads = 256;
  struct Shared {
    double sums[kThreads];
  };
  LossVectors vectors;
  const double* solved = nullptr;
  double damping = 0.0;
  double* losses = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const std::int64_t row = group.x();
    group.each([&](int thread) {
      double sum = 0.0;
      for (std::int64_t k = thread; k < vectors.w.cols; k += kThreads) {
        const double difference = vectors.at(true, row, k);
        sum = fused(difference, difference, sum);
      }
      shared.sums[thread] = sum;
    });
    sum_of_block<kThreads>(group, shared.sums);
    group.each([&](int thread) {
      if (thread != 0) return;
      const double loss = solved[row] - damping * shared.sums[0];
      losses[row] = loss > 0.0 ? loss : 0.0;
    });
  }
};

}  // namespace quench::kernels::cuda
