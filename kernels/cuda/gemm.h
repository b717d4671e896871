// y = x Wᵀ, 2 M N K flops. GemmTile: one FMA chain over k for each output, the CPU's bits. ExpandWeights: row-major
// fp32 of any format, for the tensor cores.
#pragma once

#include "kernels/cuda/device_weights.h"
#include "kernels/cuda/tile_product.h"
#include "kernels/tensor_view.h"

namespace quench::kernels::cuda {

// Grid: x tiles of 128 outputs, y tiles of 16 * RowsPer rows.
template <int RowsPer>
struct GemmTile {
  static constexpr int kThreads = kTileThreads;
  static constexpr int kRows = 16 * RowsPer;
  using Shared = TileShared<RowsPer>;
  ConstMatrixView x;
  WeightView weight;
  MatrixView y;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const std::int64_t row0 = group.y() * kRows, col0 = group.x() * kTileCols;
    typename Group::template Local<TileSums<RowsPer>> sums(group);
    group.each([&](int thread) { sums[thread] = {}; });
    multiply_tile<RowsPer, LoadOrder::depth_first, LoadOrder::index_first>(
        group, shared, sums, weight.cols,
        [&](std::int64_t k) {
          return [&, from = x.data + k](int row) { return from[line_inside(row0 + row, x.rows) * x.stride]; };
        },
        [&](int col) {
          const std::int64_t line = line_inside(col0 + col, weight.rows);
          return [&, panel = line / 16, lane = static_cast<int>(line % 16)](std::int64_t k) {
            return load_weight(weight, panel, lane, k);
          };
        },
        NoLimit{});
    group.each([&](int thread) {
      QUENCH_UNROLL
      for (int i = 0; i < RowsPer; ++i) {
        const std::int64_t row = row0 + tile_row<RowsPer>(thread, i);
        if (row >= y.rows) continue;
        QUENCH_UNROLL
        for (int j = 0; j < 8; ++j) {
          const std::int64_t col = col0 + tile_col(thread, j);
          if (col < y.cols) y.data[row * y.stride + col] = sums[thread].v[i][j];
        }
      }
    });
  }
};
using GemmTallTile = GemmTile<8>;
using GemmFlatTile = GemmTile<1>;

// out[n][k] = W[n, k]; grid: x tiles of 32 columns, y panels. Reads and writes side by side through a transposed tile.
struct ExpandWeights {
  static constexpr int kThreads = 256;
  struct Shared {
    float tile[32][17];
  };
  WeightView weight;
  float* out = nullptr;  // [rows][cols]

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const std::int64_t k0 = group.x() * 32, panel = group.y();
    group.each([&](int thread) {
      for (int element = thread; element < 512; element += kThreads) {
        const int k = element / 16, lane = element % 16;
        shared.tile[k][lane] = k0 + k < weight.cols ? load_weight(weight, panel, lane, k0 + k) : 0.0f;
      }
    });
    group.each([&](int thread) {
      for (int element = thread; element < 512; element += kThreads) {
        const int lane = element / 32, k = element % 32;
        const std::int64_t row = panel * 16 + lane;
        if (row < weight.rows && k0 + k < weight.cols) out[row * weight.cols + k0 + k] = shared.tile[k][lane];
      }
    });
  }
};

}  // namespace quench::kernels::cuda
