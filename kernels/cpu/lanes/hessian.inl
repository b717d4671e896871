// Leaf products for exact Hessian sums: 2 * tokens * rows * 16 * panels flops a tile, then each of its fp32
// values times a power of two, rounded once to int64 and added.
#include "kernels/cpu/lanes/tile.inl"

namespace quench::kernels::QUENCH_ISA {
namespace {

// Tokens between two passages of the products through memory: a whole leaf of the usual length.
constexpr std::int64_t kTokens = 512;

// `used` columns as [tokens][width], zeros beyond them; at most one vector. A store of some lanes costs ten times that of
// all, so whole vectors are stored as long as they end within `out`: the next token overwrites what is too much.
QUENCH_INLINE void pack_some(const float* x, std::int64_t stride, std::int64_t tokens, std::int64_t used,
                             const float* factors, std::int64_t width, float* out) {
  const F factor = load_n(factors, used);
  std::int64_t t = 0;
  for (; t * width + 16 <= tokens * width; ++t) store(out + t * width, mul(load_n(x + t * stride, used), factor));
  for (; t < tokens; ++t) store_n(out + t * width, mul(load_n(x + t * stride, used), factor), width);
}

void pack_lanes(const float* x, std::int64_t stride, std::int64_t tokens, std::int64_t count, const float* factors,
                float* out) {
  std::int64_t first = 0;
  for (; first + 16 <= count; first += 16) {
    const F factor = load(factors + first);
    float* to = out + first * tokens;
    for (std::int64_t t = 0; t < tokens; ++t) store(to + t * 16, mul(load(x + t * stride + first), factor));
  }
  if (first < count) pack_some(x + first, stride, tokens, count - first, factors + first, 16, out + first * tokens);
}

void pack_block(const float* x, std::int64_t stride, std::int64_t tokens, std::int64_t count, const float* factors,
                float* out) {
  for (std::int64_t first = 0, width = 0; first < count; first += width) {
    width = micro_panel_rows(count - first, kTileRows);
    pack_some(x + first, stride, tokens, width, factors + first, width, out + first * tokens);
  }
}

// The sums come from memory: eight to a cache line.
QUENCH_INLINE void prefetch_sums(const std::int64_t* sums, std::int64_t stride, std::int64_t rows, std::int64_t panels) {
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t p = 0; p < 16 * panels; p += 8) prefetch(sums + i * stride + p);
  }
}

void hessian_tile(const HessianTile& t) {
  float product[kHessianBlock * kTilePanels * 16];
  constexpr std::int64_t stride = kTilePanels * 16;
  const D unit = double_set1(t.unit);
  for (std::int64_t panel = 0; panel < t.panels; panel += kTilePanels) {
    const std::int64_t panels = t.panels - panel < kTilePanels ? t.panels - panel : kTilePanels;
    for (std::int64_t token = 0; token < t.tokens; token += kTokens) {
      const std::int64_t tokens = t.tokens - token < kTokens ? t.tokens - token : kTokens;
      const float* b[kTilePanels] = {};
      for (std::int64_t p = 0; p < panels; ++p) b[p] = t.b + ((panel + p) * t.tokens + token) * 16;
      for (std::int64_t i = 0, rows = 0; i < t.rows; i += rows) {
        rows = micro_panel_rows(t.rows - i, kTileRows);
        if (token + tokens == t.tokens) prefetch_sums(t.sums + i * t.stride + panel * 16, t.stride, rows, panels);
        any_tile(rows, panels, tokens, t.a + i * t.tokens + token * rows, b, product + i * stride, stride, 16, 16, token > 0);
      }
    }
    for (std::int64_t i = 0; i < t.rows; ++i) {
      std::int64_t* sums = t.sums + i * t.stride + panel * 16;
      for (std::int64_t p = 0; p < panels; ++p) {
        add_rounded(sums + p * 16, double_mul(widen(load(product + i * stride + p * 16)), unit));
      }
    }
  }
}

}  // namespace

void fill_hessian(KernelTable& table) {
  table.pack_lanes = pack_lanes;
  table.pack_block = pack_block;
  table.hessian_tile = hessian_tile;
}

}  // namespace quench::kernels::QUENCH_ISA
