// Pairs of bf16 in a word and their products: a fused multiply-add with the upper values, then one with the lower ones. That is
// what VDPBF16PS does (each rounded to nearest, ties to even), but that it takes subnormals for zeros. They cannot come up:
// rounding makes zeros of magnitudes below 2^-56, so every product is a multiple of 2^-126, and so is every sum of them.
// Included after a lanes.h.

namespace quench::kernels::QUENCH_ISA {
namespace {

#ifndef __AVX512BF16__
struct Pairs {
  F high, low;
};
QUENCH_INLINE Pairs as_pairs(I words) { return {as_float(int_and(words, int_set1(-0x10000))), as_float(shift_left<16>(words))}; }
QUENCH_INLINE F dot_pairs(Pairs a, Pairs b, F sum) { return fma(a.low, b.low, fma(a.high, b.high, sum)); }
#endif

constexpr float kBrainSmallest = 0x1p-56f;

// To the nearest bf16, ties to even, as a float; a NaN stays one.
QUENCH_INLINE F round_brain(F x) {
  const I bits = as_int(x);
  const F magnitude = as_float(int_and(bits, int_set1(0x7fffffff)));
  const I odd = int_and(shift_right<16>(bits), int_set1(1));
  const F rounded = as_float(int_and(int_add(bits, int_add(odd, int_set1(0x7fff))), int_set1(-0x10000)));
  const F kept = select_gt(set1(kBrainSmallest), magnitude, zero(), rounded);
  return select_gt(magnitude, set1(-1.0f), kept, as_float(int_or(bits, int_set1(0x7fff0000))));
}
QUENCH_INLINE I pair_of(F low, F high) { return int_or(shift_right<16>(as_int(low)), as_int(high)); }

// Rows x Panels chains over `words` from 0. a: [word][Rows]; b[p]: [word][16]; row i of panel p at out + i * stride + 16 * p.
template <int Rows, int Panels>
QUENCH_INLINE void pair_tile(std::int64_t words, const std::uint32_t* a, const std::uint32_t* const* b, float* out,
                             std::int64_t stride) {
  F sum[Rows][Panels];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) sum[i][p] = zero();
  }
  const std::uint32_t* panel[Panels];
#pragma GCC unroll 4
  for (int p = 0; p < Panels; ++p) panel[p] = b[p];
  for (std::int64_t word = 0; word < words; ++word) {
    Pairs weight[Panels];
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) weight[p] = as_pairs(int_load(panel[p] + word * 16));
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      const Pairs x = as_pairs(int_set1(static_cast<std::int32_t>(a[word * Rows + i])));
#pragma GCC unroll 4
      for (int p = 0; p < Panels; ++p) sum[i][p] = dot_pairs(weight[p], x, sum[i][p]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) store(out + i * stride + 16 * p, sum[i][p]);
  }
}

template <int Rows, int Panels> struct PairTileByRows {
  static void run(std::int64_t rows, std::int64_t words, const std::uint32_t* a, const std::uint32_t* const* b, float* out,
                  std::int64_t stride) {
    if (rows == Rows) return pair_tile<Rows, Panels>(words, a, b, out, stride);
    PairTileByRows<Rows - 1, Panels>::run(rows, words, a, b, out, stride);
  }
};
template <int Panels> struct PairTileByRows<0, Panels> {
  static void run(std::int64_t, std::int64_t, const std::uint32_t*, const std::uint32_t* const*, float*, std::int64_t) {}
};

// 1 .. kPairRows rows and 1 .. kTilePanels panels.
void any_pair_tile(std::int64_t rows, std::int64_t panels, std::int64_t words, const std::uint32_t* a, const std::uint32_t* const* b,
                   float* out, std::int64_t stride) {
  if constexpr (kTilePanels > 1) {
    if (panels == 1) return PairTileByRows<kPairRows, 1>::run(rows, words, a, b, out, stride);
  }
  PairTileByRows<kPairRows, kTilePanels>::run(rows, words, a, b, out, stride);
}

}  // namespace
}  // namespace quench::kernels::QUENCH_ISA
