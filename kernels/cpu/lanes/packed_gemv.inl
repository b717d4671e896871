// y = x Wᵀ for one row of x: decoding at batch 1 is bound by reading W once, so codes go straight from
// memory to registers. kGemvPanels chains run side by side to hide the latency of the FMA.
#include "kernels/cpu/lanes/expand.inl"

namespace quench::kernels::QUENCH_ISA {
namespace {

// A whole line of codes of each panel. Panel by panel within a column, so that the operations that wait for one another
// stand far apart: a scheduler sees some sixty of them, less than a line of one panel has.
template <int Bits, int Panels, int J = 0>
QUENCH_INLINE void dot_line(const std::uint8_t* const* lines, const Grid* grids, const float* x, F* sum) {
  if constexpr (J < Packing<Bits>::columns) {
    const F value = set1(x[J]);
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) {
      sum[p] = fma(value, dequantize_code(code_at<Bits, J>(lines[p]), grids[p]), sum[p]);
    }
    dot_line<Bits, Panels, J + 1>(lines, grids, x, sum);
  }
}

// Four bits where two of the eight codes of a word serve after one shift: one of the pair stands at bit 12, the other at
// bit 16 of the mantissa. At bit 12 M is 2^11, so that the constant still has its 12 + 11 bits.
struct TwoGrids { F scale, low, high; };
constexpr int kLowPosition = 12, kHighPosition = 16;

QUENCH_INLINE TwoGrids load_two_grids(const WeightView& w, std::int64_t panel, std::int64_t groups, std::int64_t group) {
  const std::int64_t at = (panel * groups + group) * 16;
  const F scale = load_f16(w.scales + at), code_zero = load_u8(w.zeros + at);
  const auto bias = [&](int position) {
    return mul(sub(zero(), add(code_zero, set1(static_cast<float>(1 << (23 - position))))), scale);
  };
  return {scale, bias(kLowPosition), bias(kHighPosition)};
}

template <int Panels, int Pair = 0>
QUENCH_INLINE void dot_pairs(const std::uint8_t* const* lines, const TwoGrids* grids, const float* x, F* sum) {
  if constexpr (Pair < 4) {
    const I low_mask = int_set1(15 << kLowPosition), low_magic = int_set1((127 + 23 - kLowPosition) << 23);
    const I high_mask = int_set1(15 << kHighPosition), high_magic = int_set1((127 + 23 - kHighPosition) << 23);
    const F first = set1(x[2 * Pair]), second = set1(x[2 * Pair + 1]);
    I words[Panels];
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) {
      words[p] = moved<8 * Pair, kLowPosition>(int_load(lines[p]));
      const F weight = fma(as_float(int_or(int_and(words[p], low_mask), low_magic)), grids[p].scale, grids[p].low);
      sum[p] = fma(first, weight, sum[p]);
    }
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) {
      const F weight = fma(as_float(int_or(int_and(words[p], high_mask), high_magic)), grids[p].scale, grids[p].high);
      sum[p] = fma(second, weight, sum[p]);
    }
    dot_pairs<Panels, Pair + 1>(lines, grids, x, sum);
  }
}

template <int Bits> constexpr bool kPaired = kTwoPositions && Bits == 4;

template <int Bits> QUENCH_INLINE auto gemv_grid(const WeightView& w, std::int64_t panel, std::int64_t groups, std::int64_t group) {
  if constexpr (kPaired<Bits>) return load_two_grids(w, panel, groups, group);
  else return load_grid<Bits>(w, panel, groups, group);
}
QUENCH_INLINE Grid usual_grid(Grid grid) { return grid; }
QUENCH_INLINE Grid usual_grid(TwoGrids grid) { return {grid.scale, grid.high}; }

// How far ahead of a panel's codes memory is asked for them.
constexpr std::int64_t kPrefetchBytes = 1024;

template <int Bits, int Panels>
void gemv_packed(const WeightView& w, const float* x, std::int64_t panel, F* out) {
  constexpr int per = Packing<Bits>::columns;
  constexpr int line_bytes = Packing<Bits>::bytes;
  const std::int64_t panel_bytes = (w.cols + per - 1) / per * line_bytes;
  const std::int64_t group_size = w.group_size < 0 ? w.cols : w.group_size;
  const std::int64_t groups = (w.cols + group_size - 1) / group_size;
  const std::uint8_t* base[Panels];
  F sum[Panels];
  for (int p = 0; p < Panels; ++p) {
    base[p] = static_cast<const std::uint8_t*>(w.panels) + (panel + p) * panel_bytes;
    sum[p] = zero();
  }
  std::int64_t k = 0;
  for (std::int64_t group = 0; group < groups; ++group) {
    const std::int64_t segment_end = (group + 1) * group_size < w.cols ? (group + 1) * group_size : w.cols;
    decltype(gemv_grid<Bits>(w, 0, 0, 0)) grids[Panels];
    for (int p = 0; p < Panels; ++p) {
      grids[p] = gemv_grid<Bits>(w, panel + p, groups, group);
      const std::int64_t soon = ((panel + p) * groups + group + 4) * 16;
      prefetch(w.scales + soon);
      prefetch(w.zeros + soon);
    }
    while (k < segment_end) {
      const std::int64_t line = k / per * line_bytes;
      const int j = static_cast<int>(k % per);
      const std::uint8_t* lines[Panels];
      for (int p = 0; p < Panels; ++p) lines[p] = base[p] + line;
      if constexpr (kUnrollLines) {
        if (j == 0 && k + per <= segment_end) {
          // Behind a panel's end come the panels that are read beside it; the next to be read begins behind those.
          const std::int64_t ahead = line + kPrefetchBytes < panel_bytes ? kPrefetchBytes : kPrefetchBytes + (Panels - 1) * panel_bytes;
#pragma GCC unroll 4
          for (int p = 0; p < Panels; ++p) prefetch(lines[p] + ahead);
          if constexpr (kPaired<Bits>) dot_pairs<Panels>(lines, grids, x + k, sum);
          else dot_line<Bits, Panels>(lines, grids, x + k, sum);
          k += per;
          continue;
        }
      }
      const F value = set1(x[k]);
      for (int p = 0; p < Panels; ++p) {
        sum[p] = fma(value, dequantize_code(code_at<Bits>(lines[p], j), usual_grid(grids[p])), sum[p]);
      }
      ++k;
    }
  }
  for (int p = 0; p < Panels; ++p) out[p] = sum[p];
}

struct HalfLanes { std::uint16_t v[16]; };
struct BrainLanes { std::uint16_t v[16]; };
struct FloatLanes { float v[16]; };
QUENCH_INLINE F load_lanes(const FloatLanes* p) { return load(p->v); }
QUENCH_INLINE F load_lanes(const HalfLanes* p) { return load_f16(p->v); }
QUENCH_INLINE F load_lanes(const BrainLanes* p) { return load_bf16(p->v); }

template <typename Lanes, int Panels>
void gemv_dense(const WeightView& w, const float* x, std::int64_t panel, F* out) {
  const Lanes* base[Panels];
  F sum[Panels];
#pragma GCC unroll 4
  for (int p = 0; p < Panels; ++p) {
    base[p] = static_cast<const Lanes*>(w.panels) + (panel + p) * w.cols;
    sum[p] = zero();
  }
  for (std::int64_t k = 0; k < w.cols; ++k) {
    const F value = set1(x[k]);
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) sum[p] = fma(value, load_lanes(base[p] + k), sum[p]);
  }
#pragma GCC unroll 4
  for (int p = 0; p < Panels; ++p) out[p] = sum[p];
}

template <int Panels>
void gemv_panels(const WeightView& w, const float* x, std::int64_t panel, F* out) {
  switch (w.format) {
    case WeightFormat::f32: return gemv_dense<FloatLanes, Panels>(w, x, panel, out);
    case WeightFormat::f16: return gemv_dense<HalfLanes, Panels>(w, x, panel, out);
    case WeightFormat::bf16: return gemv_dense<BrainLanes, Panels>(w, x, panel, out);
    case WeightFormat::q8: return gemv_packed<8, Panels>(w, x, panel, out);
    case WeightFormat::q4: return gemv_packed<4, Panels>(w, x, panel, out);
    case WeightFormat::q3: return gemv_packed<3, Panels>(w, x, panel, out);
    case WeightFormat::q2: return gemv_packed<2, Panels>(w, x, panel, out);
  }
}

void gemv(const WeightView& w, const float* x, std::int64_t panel_begin, std::int64_t panel_end, float* y) {
  std::int64_t panel = panel_begin;
  F out[kGemvPanels];
  while (panel < panel_end) {
    std::int64_t count = 1;
    if (panel + kGemvPanels <= panel_end) {
      gemv_panels<kGemvPanels>(w, x, panel, out);
      count = kGemvPanels;
    } else {
      gemv_panels<1>(w, x, panel, out);
    }
    for (std::int64_t p = 0; p < count; ++p) {
      const std::int64_t columns_left = w.rows - (panel + p) * 16;
      store_n(y + (panel + p) * 16, out[p], columns_left < 16 ? columns_left : 16);
    }
    panel += count;
  }
}

}  // namespace

void fill_packed_gemv(KernelTable& table) { table.gemv = gemv; }

}  // namespace quench::kernels::QUENCH_ISA
