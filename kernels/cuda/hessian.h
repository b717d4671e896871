// Exact Hessian sums and the panels of their LDLᵀ (kernels/hessian.h), with the CPU's bits. The triangle is cut in
// tiles of 128 x 128: tile (I, J), J <= I, reaches over one or two panels; what a panel does not hold (rows above its
// first column) and panels that are not here are left out.
#pragma once

#include "kernels/cuda/tile_product.h"
#include "kernels/hessian.h"
#include "kernels/tensor_view.h"

namespace quench::kernels::cuda {

// Tile t of the lower triangle, row by row: (0,0), (1,0), (1,1), (2,0), …
struct TriangleTile {
  std::int64_t row = 0;
  std::int64_t col = 0;
};
QUENCH_DEVICE TriangleTile triangle_tile(std::int64_t index) {
  auto row = static_cast<std::int64_t>((sqrt(8.0 * static_cast<double>(index) + 1.0) - 1.0) / 2.0);
  while ((row + 1) * (row + 2) / 2 <= index) ++row;
  while (row * (row + 1) / 2 > index) --row;
  return {row, index - row * (row + 1) / 2};
}
// Launches for `tiles` tiles a side.
constexpr std::int64_t triangle_tiles(std::int64_t tiles) { return tiles * (tiles + 1) / 2; }

// The panel that a column is in: its width is 64 or 128, and a division by a run-time number is many times dearer.
QUENCH_DEVICE std::int64_t panel_of(const TrianglePanels& layout, std::int64_t column) {
  return static_cast<std::int64_t>(static_cast<std::uint32_t>(column) >> (layout.width == 64 ? 6 : 7));
}

// Whether any panel that columns [col0, col0 + 128) touch is here. `panels` has one pointer per panel.
template <typename T>
QUENCH_DEVICE bool holds_any(const TrianglePanels& layout, T* const* panels, std::int64_t col0) {
  const std::int64_t last = panel_of(layout, layout.columns - 1);
  for (std::int64_t p = panel_of(layout, col0); p <= panel_of(layout, col0 + kTileCols - 1) && p <= last; ++p) {
    if (panels[p] != nullptr) return true;
  }
  return false;
}

// Columns 4 * half .. 4 * half + 3 of a thread in a tile of the triangle: side by side in one panel, since tiles begin at
// multiples of 64 as panels do.
template <typename T>
struct PanelRun {
  T* panel = nullptr;  // null where nothing of it is here
  std::int64_t first_row = 0, width = 0;
  std::int64_t column = 0;  // within the panel
  int count = 0;            // 4, or what is left of the columns

  QUENCH_DEVICE PanelRun(const TrianglePanels& layout, T* const* panels, std::int64_t col0, int thread, int half)
      : width(layout.width) {
    const std::int64_t col = col0 + tile_col(thread, 4 * half), left = layout.columns - col, index = panel_of(layout, col);
    if (left <= 0) return;
    panel = panels[index];
    first_row = layout.first_column(index);
    column = col - first_row;
    count = left < 4 ? static_cast<int>(left) : 4;
  }
  // Null where the panel does not hold that row.
  QUENCH_DEVICE T* at(std::int64_t row, std::int64_t rows) const {
    return panel != nullptr && row >= first_row && row < rows ? panel + (row - first_row) * width + column : nullptr;
  }
};

// sums += round(2^shift * Σ_t (x_ti 2^-e_i) (x_tj 2^-e_j)), the sum one fp32 FMA chain over the leaf's tokens.
struct HessianLeaf {
  static constexpr int kThreads = kTileThreads;
  static constexpr int kBlocks = kTileBlocks;
  using Shared = TileShared<8>;
  ConstMatrixView leaf;
  const std::int32_t* exponents = nullptr;
  double unit = 1.0;
  TrianglePanels layout;
  std::int64_t* const* sums = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const TriangleTile tile = triangle_tile(group.x());
    const std::int64_t row0 = tile.row * kTileCols, col0 = tile.col * kTileCols;
    if (!holds_any(layout, sums, col0)) return;
    const auto scaled = [&](std::int64_t index) {
      const std::int64_t column = line_inside(index, layout.columns);
      return ScaledLoads{[&, from = leaf.data + column](std::int64_t token) { return from[token * leaf.stride]; },
                         inverse_power(exponents[column])};
    };
    typename Group::template Local<TileSums<8>> products(group);
    group.each([&](int thread) { products[thread] = {}; });
    multiply_tile<8, LoadOrder::index_first, LoadOrder::index_first>(
        group, shared, products, leaf.rows, [&](int row) { return scaled(row0 + row); },
        [&](int col) { return scaled(col0 + col); }, NoLimit{});
    group.each([&](int thread) {
      QUENCH_UNROLL
      for (int half = 0; half < 2; ++half) {
        const PanelRun<std::int64_t> run(layout, sums, col0, thread, half);
        QUENCH_UNROLL
        for (int i = 0; i < 8; ++i) {
          std::int64_t* to = run.at(row0 + tile_row<8>(thread, i), layout.columns);
          if (to == nullptr) continue;
          QUENCH_UNROLL
          for (int j = 0; j < 4; ++j)
            if (j < run.count) to[j] += nearest_integer(static_cast<double>(products[thread].v[i][4 * half + j]) * unit);
        }
      }
    });
  }
};

// fp32 panel of H from its sums. Grid: x blocks of rows of the panel; a thread takes one element.
struct FactorPanelBuild {
  static constexpr int kThreads = 256;
  struct Shared {};
  TrianglePanels layout;
  std::int64_t panel = 0;
  const std::int64_t* const* sums = nullptr;
  const std::int32_t* exponents = nullptr;
  const std::int32_t* order = nullptr;  // nullptr: as they are
  double unit = 1.0;
  double tokens = 1.0;
  double diagonal_add = 0.0;
  float* out = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    group.each([&](int thread) {
      const std::int64_t element = group.x() * kThreads + thread;
      const std::int64_t i = panel_of(layout, element), j = element - i * layout.width;
      if (i >= layout.row_count(panel)) return;
      if (j >= layout.column_count(panel)) {
        out[element] = 0.0f;
        return;
      }
      const std::int64_t a = layout.first_column(panel) + i, b = layout.first_column(panel) + j;
      const std::int64_t original_a = order != nullptr ? order[a] : a, original_b = order != nullptr ? order[b] : b;
      const std::int64_t row = original_a > original_b ? original_a : original_b;
      const std::int64_t col = original_a > original_b ? original_b : original_a;
      const std::int64_t from = panel_of(layout, col);
      const double power_a = power_of_two(exponents[original_a]) * unit;
      double value = static_cast<double>(sums[from][layout.index(from, row, col)]) *
                     (power_a * power_of_two(exponents[original_b])) / tokens;
      if (a == b) value += diagonal_add;
      out[element] = static_cast<float>(value);
    });
  }
};

// LDLᵀ of a panel's diagonal tile by one block: step k gives pivot k and takes U_ik L_jk from what is right of it, so
// that each element is one chain over k as in cpu/lanes/gptq.inl. The lower triangle lies packed in shared memory.
struct FactorDiagonal {
  static constexpr int kThreads = 256;
  static constexpr int kColumnsMax = 128;
  struct Shared {
    float tile[kColumnsMax * (kColumnsMax + 1) / 2];
    float u[kColumnsMax];
    float l[kColumnsMax];
    int failed;
  };
  float* data = nullptr;
  std::int64_t stride = 0;
  std::int64_t columns = 0;
  float* pivots = nullptr;        // of this panel
  std::int32_t* failed = nullptr;  // out: -1, or the first column whose pivot is not > 0

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const auto at = [](std::int64_t row, std::int64_t col) { return row * (row + 1) / 2 + col; };
    group.each([&](int thread) {
      if (thread == 0) shared.failed = -1;
      for (std::int64_t element = thread; element < columns * columns; element += kThreads) {
        const std::int64_t row = element / columns, col = element % columns;
        if (col <= row) shared.tile[at(row, col)] = data[row * stride + col];
      }
    });
    for (std::int64_t k = 0; k < columns; ++k) {
      group.each([&](int thread) {
        const float pivot = shared.tile[at(k, k)];
        if (thread == 0 && shared.failed < 0) {
          if (!(pivot > 0.0f) || pivot > 3.402823466e38f) shared.failed = static_cast<int>(k);
          pivots[k] = pivot;
        }
        const std::int64_t row = k + 1 + thread;
        if (row < columns) {
          shared.u[row] = shared.tile[at(row, k)];
          shared.l[row] = shared.u[row] / pivot;
        }
      });
      if (shared.failed >= 0) break;
      group.each([&](int thread) {
        const auto rows = static_cast<std::uint32_t>(columns - k - 1);
        for (auto element = static_cast<std::uint32_t>(thread); element < rows * rows; element += kThreads) {
          const std::int64_t row = k + 1 + element / rows, col = k + 1 + element % rows;
          if (col > row) continue;
          float& value = shared.tile[at(row, col)];
          value = fused(-shared.u[row], shared.l[col], value);
        }
        const std::int64_t row = k + 1 + thread;
        if (row < columns) shared.tile[at(row, k)] = shared.l[row];
      });
    }
    group.each([&](int thread) {
      for (std::int64_t element = thread; element < columns * columns; element += kThreads) {
        const std::int64_t row = element / columns, col = element % columns;
        if (col < row && shared.failed < 0) data[row * stride + col] = shared.tile[at(row, col)];
      }
      if (thread == 0) *failed = shared.failed;
    });
  }
};

// The rows below the diagonal tile: U = A - Σ U L, then L = U / D. Grid: x blocks of 32 rows. Does nothing when the
// tile failed.
struct FactorBelow {
  static constexpr int kThreads = 256;
  static constexpr int kRows = 32;
  struct Shared {
    float u[FactorDiagonal::kColumnsMax][kRows + 1];
  };
  float* data = nullptr;  // the panel's first row below the tile
  std::int64_t rows = 0;
  std::int64_t stride = 0;
  std::int64_t columns = 0;
  const float* diagonal = nullptr;
  const float* pivots = nullptr;
  const std::int32_t* failed = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    if (*failed >= 0) return;
    const std::int64_t row0 = group.x() * kRows;
    group.each([&](int thread) {
      for (std::int64_t element = thread; element < kRows * columns; element += kThreads) {
        const std::int64_t row = element / columns, col = element % columns;
        shared.u[col][row] = row0 + row < rows ? data[(row0 + row) * stride + col] : 0.0f;
      }
    });
    for (std::int64_t k = 0; k + 1 < columns; ++k) {
      group.each([&](int thread) {
        const int row = thread % kRows;
        const float u = shared.u[k][row];
        for (std::int64_t col = k + 1 + thread / kRows; col < columns; col += kThreads / kRows)
          shared.u[col][row] = fused(-u, diagonal[col * stride + k], shared.u[col][row]);
      });
    }
    group.each([&](int thread) {
      for (std::int64_t element = thread; element < kRows * columns; element += kThreads) {
        const std::int64_t row = element / columns, col = element % columns;
        if (row0 + row < rows) data[(row0 + row) * stride + col] = shared.u[col][row] / pivots[col];
      }
    });
  }
};

// target -= L D Lᵀ of factored panels side by side for every later panel that is here, one chain over the sources'
// columns. Rows and columns count from `first`, which begins a panel.
struct PanelUpdate {
  static constexpr int kThreads = kTileThreads;
  static constexpr int kBlocks = kTileBlocks;
  using Shared = TileShared<8>;
  TrianglePanels layout;
  std::int64_t first_source = 0;
  std::int64_t first = 0;                  // the first row and column behind the sources
  std::int64_t depth = 0;                  // columns of the sources
  const float* const* sources = nullptr;  // the panels from first_source on
  const float* pivots = nullptr;           // of the sources
  float* const* targets = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const TriangleTile tile = triangle_tile(group.x());
    const std::int64_t row0 = tile.row * kTileCols, col0 = tile.col * kTileCols;
    const std::int64_t rows = layout.columns - first;
    if (!holds_any(layout, targets, first + col0)) return;
    typename Group::template Local<TileSums<8>> values(group);
    group.each([&](int thread) {
      QUENCH_UNROLL
      for (int half = 0; half < 2; ++half) {
        const PanelRun<float> run(layout, targets, first + col0, thread, half);
        QUENCH_UNROLL
        for (int i = 0; i < 8; ++i) {
          const float* from = run.at(first + row0 + tile_row<8>(thread, i), layout.columns);
          QUENCH_UNROLL
          for (int j = 0; j < 4; ++j) values[thread].v[i][4 * half + j] = from != nullptr && j < run.count ? from[j] : 0.0f;
        }
      }
    });
    const auto source = [&](std::int64_t k) {
      const std::int64_t panel = panel_of(layout, k);
      return sources[panel] + (first - (first_source + panel) * layout.width - panel) * layout.width + k;
    };
    multiply_tile<8, LoadOrder::depth_first, LoadOrder::depth_first>(
        group, shared, values, depth,
        [&](std::int64_t k) {
          return [&, from = source(k)](int row) { return from[line_inside(row0 + row, rows) * layout.width]; };
        },
        [&](std::int64_t k) {
          return ScaledLoads{
              [&, from = source(k)](int col) { return from[line_inside(col0 + col, rows) * layout.width]; }, -pivots[k]};
        },
        NoLimit{});
    group.each([&](int thread) {
      QUENCH_UNROLL
      for (int half = 0; half < 2; ++half) {
        const PanelRun<float> run(layout, targets, first + col0, thread, half);
        QUENCH_UNROLL
        for (int i = 0; i < 8; ++i) {
          float* to = run.at(first + row0 + tile_row<8>(thread, i), layout.columns);
          if (to == nullptr) continue;
          QUENCH_UNROLL
          for (int j = 0; j < 4; ++j)
            if (j < run.count) to[j] = values[thread].v[i][4 * half + j];
        }
      }
    });
  }
};

}  // namespace quench::kernels::cuda
