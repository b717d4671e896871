// The inner kernel of every matrix product: Rows x (16 * Panels) accumulators in registers, one FMA
// chain over k each. Per k it loads 16 * Panels + Rows floats for 32 * Rows * Panels flops.
// Included by gemm.inl and hessian.inl after a lanes.h.

namespace quench::kernels::QUENCH_ISA {
namespace {

// a: [k][Rows]; b[p]: [k][16]; y: row i of panel p at y + i * stride + p * panel_stride. The last panel has
// `last_lanes` columns.
template <int Rows, int Panels>
QUENCH_INLINE void tile(std::int64_t k_count, const float* a, const float* const* b, float* y, std::int64_t stride,
                        std::int64_t panel_stride, std::int64_t last_lanes, bool carry) {
  F sum[Rows][Panels];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) {
      if (!carry) {
        sum[i][p] = zero();
      } else if (p == Panels - 1 && last_lanes < 16) {
        sum[i][p] = load_n(y + i * stride + p * panel_stride, last_lanes);
      } else {
        sum[i][p] = load(y + i * stride + p * panel_stride);
      }
    }
  }
  const float* panel[Panels];
#pragma GCC unroll 4
  for (int p = 0; p < Panels; ++p) panel[p] = b[p];
  for (std::int64_t k = 0; k < k_count; ++k) {
    F weight[Panels];
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) weight[p] = load(panel[p] + k * 16);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      const F x = set1(a[k * Rows + i]);
#pragma GCC unroll 4
      for (int p = 0; p < Panels; ++p) sum[i][p] = fma(x, weight[p], sum[i][p]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) {
      if (p == Panels - 1 && last_lanes < 16) {
        store_n(y + i * stride + p * panel_stride, sum[i][p], last_lanes);
      } else {
        store(y + i * stride + p * panel_stride, sum[i][p]);
      }
    }
  }
}

template <int Rows, int Panels> struct TileByRows {
  static void run(std::int64_t rows, std::int64_t k_count, const float* a, const float* const* b, float* y,
                  std::int64_t stride, std::int64_t panel_stride, std::int64_t last_lanes, bool carry) {
    if (rows == Rows) return tile<Rows, Panels>(k_count, a, b, y, stride, panel_stride, last_lanes, carry);
    TileByRows<Rows - 1, Panels>::run(rows, k_count, a, b, y, stride, panel_stride, last_lanes, carry);
  }
};
template <int Panels> struct TileByRows<0, Panels> {
  static void run(std::int64_t, std::int64_t, const float*, const float* const*, float*, std::int64_t, std::int64_t,
                  std::int64_t, bool) {}
};

// 1 .. kTileRows rows and 1 .. kTilePanels panels.
void any_tile(std::int64_t rows, std::int64_t panels, std::int64_t k_count, const float* a, const float* const* b,
              float* y, std::int64_t stride, std::int64_t panel_stride, std::int64_t last_lanes, bool carry) {
  if constexpr (kTilePanels > 1) {
    if (panels == 1) return TileByRows<kTileRows, 1>::run(rows, k_count, a, b, y, stride, panel_stride, last_lanes, carry);
  }
  TileByRows<kTileRows, kTilePanels>::run(rows, k_count, a, b, y, stride, panel_stride, last_lanes, carry);
}

}  // namespace
}  // namespace quench::kernels::QUENCH_ISA
