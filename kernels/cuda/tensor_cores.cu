// Leaf products of exact Hessian sums on tensor cores. Each scaled factor x 2^-e (below 1) is split into two bf16,
// x = h + l + r with |l| <= 2^-9 |x| and |r| <= 2^-18 |x|, and a product is h h' + h l' + l h', summed in fp32 by the
// tensor cores: what is left out is at most 2^-16 of Σ |x| |x'| (tolerances.h). The sum is then rounded to int64 and added as
// in hessian.h, so sums over leaves stay exact and do not depend on ranks; only on tensor cores' leaf sums.
#include <mma.h>

#include <cuda_bf16.h>

#include "kernels/cuda/launch.cuh"

namespace quench::kernels::cuda {
namespace {

namespace wmma = nvcuda::wmma;

constexpr int kTile = 128;       // columns of the triangle's tile, as HessianLeaf
constexpr int kTokens = 32;      // of one step
constexpr int kSplitThreads = 256;
constexpr int kPitch = kTile + 8;  // bf16: rows shifted by 16 bytes against the banks

// Eight warps: warp w does rows (w / 2) * 32 .. + 31 and columns (w % 2) * 64 .. + 63.
struct SplitShared {
  __nv_bfloat16 row_high[kTokens][kPitch];
  __nv_bfloat16 row_low[kTokens][kPitch];
  __nv_bfloat16 col_high[kTokens][kPitch];
  __nv_bfloat16 col_low[kTokens][kPitch];
};

using Rows = wmma::fragment<wmma::matrix_a, 16, 16, 16, __nv_bfloat16, wmma::col_major>;
using Cols = wmma::fragment<wmma::matrix_b, 16, 16, 16, __nv_bfloat16, wmma::row_major>;
using Sums = wmma::fragment<wmma::accumulator, 16, 16, 16, float>;

__device__ __forceinline__ void load_split(const HessianLeaf& leaf, std::int64_t token0, std::int64_t col0,
                                           __nv_bfloat16 (*high)[kPitch], __nv_bfloat16 (*low)[kPitch]) {
  // A thread keeps its column: 256 threads are two tokens of 128 columns.
  const int column = static_cast<int>(threadIdx.x) % kTile;
  const std::int64_t col = col0 + column;
  const bool inside = col < leaf.layout.columns;
  const float factor = inside ? inverse_power(leaf.exponents[col]) : 0.0f;
#pragma unroll
  for (int i = 0; i < kTokens / 2; ++i) {
    const int step = i * 2 + static_cast<int>(threadIdx.x) / kTile;
    const std::int64_t token = token0 + step;
    const float value = inside && token < leaf.leaf.rows ? leaf.leaf.data[token * leaf.leaf.stride + col] * factor : 0.0f;
    const __nv_bfloat16 h = __float2bfloat16_rn(value);
    high[step][column] = h;
    low[step][column] = __float2bfloat16_rn(value - __bfloat162float(h));
  }
}

__global__ void __launch_bounds__(kSplitThreads) leaf_split(const __grid_constant__ HessianLeaf leaf) {
  // The steps' operands and, afterwards, the sums of half the tile at a time share one memory.
  // Fragments are loaded and stored on 32-byte boundaries.
  __shared__ union alignas(32) {
    SplitShared operands;
    float sums[kTile / 2][kTile + 4];
  } shared;
  const TriangleTile tile = triangle_tile(blockIdx.x);
  const std::int64_t row0 = tile.row * kTile, col0 = tile.col * kTile;
  if (!holds_any(leaf.layout, leaf.sums, col0)) return;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp / 2 * 32, warp_col = warp % 2 * 64;
  Sums sums[2][4];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) wmma::fill_fragment(sums[i][j], 0.0f);
  }
  for (std::int64_t token = 0; token < leaf.leaf.rows; token += kTokens) {
    load_split(leaf, token, row0, shared.operands.row_high, shared.operands.row_low);
    load_split(leaf, token, col0, shared.operands.col_high, shared.operands.col_low);
    __syncthreads();
#pragma unroll
    for (int step = 0; step < kTokens; step += 16) {
      Rows high[2], low[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        wmma::load_matrix_sync(high[i], &shared.operands.row_high[step][warp_row + i * 16], kPitch);
        wmma::load_matrix_sync(low[i], &shared.operands.row_low[step][warp_row + i * 16], kPitch);
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        Cols right;
        wmma::load_matrix_sync(right, &shared.operands.col_low[step][warp_col + j * 16], kPitch);
#pragma unroll
        for (int i = 0; i < 2; ++i) wmma::mma_sync(sums[i][j], high[i], right, sums[i][j]);
        wmma::load_matrix_sync(right, &shared.operands.col_high[step][warp_col + j * 16], kPitch);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          wmma::mma_sync(sums[i][j], low[i], right, sums[i][j]);
          wmma::mma_sync(sums[i][j], high[i], right, sums[i][j]);
        }
      }
    }
    __syncthreads();
  }
  // Rows 0 .. 63 belong to warps 0 .. 3, the rest to warps 4 .. 7.
  for (int half = 0; half < 2; ++half) {
    if (warp / 4 == half) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j)
          wmma::store_matrix_sync(&shared.sums[warp_row - half * 64 + i * 16][warp_col + j * 16], sums[i][j], kTile + 4,
                                  wmma::mem_row_major);
      }
    }
    __syncthreads();
    for (int element = static_cast<int>(threadIdx.x); element < kTile / 2 * kTile; element += kSplitThreads) {
      const std::int64_t row = row0 + half * 64 + element / kTile, col = col0 + element % kTile;
      if (row >= leaf.layout.columns || col >= leaf.layout.columns) continue;
      const std::int64_t panel = col / leaf.layout.width;
      if (row < leaf.layout.first_column(panel) || leaf.sums[panel] == nullptr) continue;
      leaf.sums[panel][leaf.layout.index(panel, row, col)] +=
          nearest_integer(static_cast<double>(shared.sums[element / kTile][element % kTile]) * leaf.unit);
    }
    __syncthreads();
  }
}

}  // namespace

void launch_leaf_split(const Stream& stream, const HessianLeaf& leaf) {
  const std::int64_t tiles = (leaf.layout.columns + kTile - 1) / kTile;
  leaf_split<<<static_cast<unsigned>(tiles * (tiles + 1) / 2), kSplitThreads, 0,
               static_cast<cudaStream_t>(stream.handle)>>>(leaf);
  check_cuda(cudaGetLastError(), "launch of leaf_split");
}

}  // namespace quench::kernels::cuda
