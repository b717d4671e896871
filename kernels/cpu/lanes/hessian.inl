// Leaf products for exact Hessian sums: 2 * tokens * rows * 16 * panels flops a tile, then each of its fp32
// values times a power of two, rounded once to int64 and added.
#include "kernels/cpu/lanes/tile.inl"

namespace quench::kernels::QUENCH_ISA {
namespace {

void pack_columns(const float* x, std::int64_t stride, std::int64_t tokens, std::int64_t count, const float* factors,
                  std::int64_t lanes, bool pad, float* out) {
  for (std::int64_t first = 0; first < count; first += lanes) {
    const std::int64_t used = count - first < lanes ? count - first : lanes;
    const std::int64_t width = pad ? lanes : used;
    float* group = out + first * tokens;
    for (std::int64_t t = 0; t < tokens; ++t) {
      const float* source = x + t * stride + first;
      float* to = group + t * width;
      // At most one vector: lanes is 16 or less.
      store_n(to, mul(load_n(source, used), load_n(factors + first, used)), width);
    }
  }
}

void hessian_tile(const HessianTile& t) {
  float product[kTileRows * kTilePanels * 16];
  const D unit = double_set1(t.unit);
  for (std::int64_t panel = 0; panel < t.panels; panel += kTilePanels) {
    const std::int64_t panels = t.panels - panel < kTilePanels ? t.panels - panel : kTilePanels;
    const float* b[kTilePanels] = {};
    for (std::int64_t p = 0; p < panels; ++p) b[p] = t.b + (panel + p) * t.tokens * 16;
    any_tile(t.rows, panels, t.tokens, t.a, b, product, kTilePanels * 16, 16, false);
    for (std::int64_t i = 0; i < t.rows; ++i) {
      for (std::int64_t p = 0; p < panels; ++p) {
        const D value = double_mul(widen(load(product + (i * kTilePanels + p) * 16)), unit);
        add_rounded(t.sums + i * t.stride + (panel + p) * 16, value);
      }
    }
  }
}

}  // namespace

void fill_hessian(KernelTable& table) {
  table.hessian_rows = kHessianRows;
  table.pack_columns = pack_columns;
  table.hessian_tile = hessian_tile;
}

}  // namespace quench::kernels::QUENCH_ISA
