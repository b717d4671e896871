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
    Grid grids[Panels];
    for (int p = 0; p < Panels; ++p) grids[p] = load_grid<Bits>(w, panel + p, groups, group);
    while (k < segment_end) {
      const std::int64_t line = k / per * line_bytes;
      const int j = static_cast<int>(k % per);
      const std::uint8_t* lines[Panels];
      for (int p = 0; p < Panels; ++p) lines[p] = base[p] + line;
      if constexpr (kUnrollLines) {
        if (j == 0 && k + per <= segment_end) {
#pragma GCC unroll 4
          for (int p = 0; p < Panels; ++p) prefetch(lines[p] + kPrefetchBytes);
          dot_line<Bits, Panels>(lines, grids, x + k, sum);
          k += per;
          continue;
        }
      }
      const F value = set1(x[k]);
      for (int p = 0; p < Panels; ++p) {
        sum[p] = fma(value, dequantize_code(code_at<Bits>(lines[p], j), grids[p]), sum[p]);
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
