// y = x Wᵀ with x rounded to bf16. Columns are cut in segments (BrainSegment) that never cross a group; each has one chain of
// pairs from 0, d, and y goes on from segment to segment:
//   packed codes  y = fma(scale, fma(-(offset + zero), sum of x over the segment, d), y)
//   dense         y = d + y, the weights rounded to bf16 too
// A code becomes a bf16 without a conversion: at the top of the mantissa of a power of two it makes `offset` + code exactly,
// so that a shift and one operation of logic serve 32 weights of a register. Eight bits are two halves, 16 + low and
// 256 + 16 high. The order of columns within a line is in brain_pairs (kernel_table.h).
// 2 * rows * 16 * panels * columns flops.
#include "kernels/cpu/lanes/exp.inl"
#include "kernels/cpu/lanes/pairs.inl"

namespace quench::kernels::QUENCH_ISA {
namespace {

void brain_row(const float* x, std::int64_t count, std::uint16_t* out) {
  for (std::int64_t i = 0; i < count; i += 16) {
    const std::int64_t n = count - i < 16 ? count - i : 16;
    std::uint32_t words[16];
    int_store(words, shift_right<16>(as_int(round_brain(load_n(x + i, n)))));
    for (std::int64_t lane = 0; lane < n; ++lane) out[i + lane] = static_cast<std::uint16_t>(words[lane]);
  }
}

// Element i into partial sum i mod 16, then the fixed tree.
float brain_sum(const std::uint16_t* x, std::int64_t count) {
  F sums = zero();
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) sums = add(sums, load_bf16(x + i));
  if (i < count) {
    std::uint16_t rest[16] = {};
    for (std::int64_t lane = 0; i + lane < count; ++lane) rest[lane] = x[i + lane];
    sums = add(sums, load_bf16(rest));
  }
  return sum_lanes(sums);
}

template <int From, int To> QUENCH_INLINE I shifted(I x) {
  if constexpr (From < To) return shift_left<To - From>(x);
  else if constexpr (From > To) return shift_right<From - To>(x);
  else return x;
}
QUENCH_INLINE I masked(I x, int mask, int magic) { return int_or(int_and(x, int_set1(mask * 0x10001)), int_set1(magic * 0x10001)); }

template <int Bits> struct Coded;
template <> struct Coded<8> { static constexpr int words = 4, bytes = 64, offset = 272; };
template <> struct Coded<4> { static constexpr int words = 4, bytes = 64, offset = 16; };
template <> struct Coded<3> { static constexpr int words = 16, bytes = 192, offset = 8; };
template <> struct Coded<2> { static constexpr int words = 8, bytes = 64, offset = 4; };

// Word `J` of a line: two weights of each row.
template <int Bits, int J> QUENCH_INLINE I coded_word(const std::uint8_t* line) {
  if constexpr (Bits == 8) {
    return masked(shifted<4 * J, 3>(int_load(line)), 0x78, J % 2 == 0 ? 0x4180 : 0x4380);
  } else if constexpr (Bits == 4) {
    return masked(shifted<4 * J, 3>(int_load(line)), 0x78, 0x4180);
  } else if constexpr (Bits == 2) {
    return masked(shifted<2 * J, 5>(int_load(line)), 0x60, 0x4080);
  } else {
    const I low_bits = masked(shifted<2 * (J % 8), 4>(int_load(line + J / 8 * 64)), 0x30, 0x4100);
    const I high_bits = int_load(line + 128);
    constexpr int at = J / 8 * 16 + J % 8;
    return int_or(low_bits, int_or(int_and(shifted<at, 6>(high_bits), int_set1(1 << 6)),
                                   int_and(shifted<at + 8, 22>(high_bits), int_set1(1 << 22))));
  }
}

template <int Bits, int J = 0, typename Take> QUENCH_INLINE void for_coded_words(const std::uint8_t* line, const Take& take) {
  if constexpr (J < Coded<Bits>::words) {
    take(J, coded_word<Bits, J>(line));
    for_coded_words<Bits, J + 1>(line, take);
  }
}

// A segment of one panel as words.
template <int Bits>
void expand_coded(const WeightView& w, std::int64_t lines, const BrainSegment& segment, std::int64_t panel, std::uint32_t* out) {
  const std::uint8_t* line = static_cast<const std::uint8_t*>(w.panels) + (panel * lines + segment.first_line) * Coded<Bits>::bytes;
  for (std::int64_t i = 0; i < segment.lines; ++i, line += Coded<Bits>::bytes, out += Coded<Bits>::words * 16) {
    prefetch_second_level(line + kTilePanels * lines * Coded<Bits>::bytes);
    for_coded_words<Bits>(line, [&](int word, I values) { int_store(out + word * 16, values); });
  }
}

QUENCH_INLINE F load_lanes(const float* p) { return load(p); }
struct HalfLane { std::uint16_t bits; };
struct BrainLane { std::uint16_t bits; };
QUENCH_INLINE F load_lanes(const HalfLane* p) { return load_f16(&p->bits); }
QUENCH_INLINE F load_lanes(const BrainLane* p) { return load_bf16(&p->bits); }

// Columns k and k + 1 of a dense panel; 0 behind the last.
template <typename Lane> QUENCH_INLINE I dense_word(const Lane* panel, std::int64_t k, std::int64_t cols) {
  return pair_of(round_brain(load_lanes(panel + k * 16)), k + 1 < cols ? round_brain(load_lanes(panel + (k + 1) * 16)) : zero());
}

template <typename Lane>
void expand_dense(const WeightView& w, const BrainSegment& segment, std::int64_t panel, std::uint32_t* out) {
  const Lane* from = static_cast<const Lane*>(w.panels) + panel * w.cols * 16;
  for (std::int64_t i = 0; i < segment.lines; ++i) int_store(out + i * 16, dense_word(from, 2 * (segment.first_line + i), w.cols));
}

void expand_segment(const BrainBlock& block, const BrainSegment& segment, std::int64_t panel, std::uint32_t* out) {
  const WeightView& w = block.weight;
  switch (w.format) {
    case WeightFormat::f32: return expand_dense<float>(w, segment, panel, out);
    case WeightFormat::f16: return expand_dense<HalfLane>(w, segment, panel, out);
    case WeightFormat::bf16: return expand_dense<BrainLane>(w, segment, panel, out);
    case WeightFormat::q8: return expand_coded<8>(w, block.lines, segment, panel, out);
    case WeightFormat::q4: return expand_coded<4>(w, block.lines, segment, panel, out);
    case WeightFormat::q3: return expand_coded<3>(w, block.lines, segment, panel, out);
    case WeightFormat::q2: return expand_coded<2>(w, block.lines, segment, panel, out);
  }
}

struct BrainGrid { F scale, offset; };

template <int Bits>
QUENCH_INLINE BrainGrid brain_grid(const WeightView& w, std::int64_t panel, std::int64_t groups, std::int64_t group) {
  const std::int64_t at = (panel * groups + group) * 16;
  return {load_f16(w.scales + at), sub(zero(), add(load_u8(w.zeros + at), set1(static_cast<float>(Coded<Bits>::offset))))};
}
QUENCH_INLINE BrainGrid brain_grid(const WeightView& w, std::int64_t panel, std::int64_t groups, std::int64_t group) {
  switch (w.format) {
    case WeightFormat::q8: return brain_grid<8>(w, panel, groups, group);
    case WeightFormat::q4: return brain_grid<4>(w, panel, groups, group);
    case WeightFormat::q3: return brain_grid<3>(w, panel, groups, group);
    default: return brain_grid<2>(w, panel, groups, group);
  }
}
QUENCH_INLINE F folded(BrainGrid grid, F x_sum, F d, F y) { return fma(grid.scale, fma(grid.offset, x_sum, d), y); }

QUENCH_INLINE bool is_dense(const WeightView& w) {
  return w.format == WeightFormat::f32 || w.format == WeightFormat::f16 || w.format == WeightFormat::bf16;
}

// Several rows: a segment's weights become words once, in the first-level cache, while x's micro-panels pass.
void brain_rows(const BrainBlock& block) {
  const WeightView& w = block.weight;
  const bool dense = is_dense(w);
  for (std::int64_t panel = block.panel_begin; panel < block.panel_end; panel += kTilePanels) {
    const std::int64_t left = block.panel_end - panel;
    const std::int64_t panels = left < kTilePanels ? left : kTilePanels;
    const std::uint32_t* x = block.x;
    for (std::int64_t s = 0; s < block.segment_count; ++s) {
      const BrainSegment& segment = block.segments[s];
      const std::int64_t words = segment.lines * block.words_per_line;
      const std::uint32_t* b[kTilePanels] = {};
      BrainGrid grids[kTilePanels] = {};
      for (std::int64_t p = 0; p < panels; ++p) {
        std::uint32_t* expanded = block.scratch + p * words * 16;
        expand_segment(block, segment, panel + p, expanded);
        b[p] = expanded;
        if (!dense) grids[p] = brain_grid(w, panel + p, block.groups, segment.group);
      }
      for (std::int64_t row = 0, rows = 0; row < block.rows; row += rows) {
        rows = micro_panel_rows(block.rows - row, kPairRows);
        float products[kPairRows * kTilePanels * 16];
        any_pair_tile(rows, panels, words, x + row * words, b, products, kTilePanels * 16);
        for (std::int64_t i = 0; i < rows; ++i) {
          const F x_sum = set1(block.sums[s * block.rows + row + i]);
          float* y = block.y + (row + i) * block.y_stride + panel * 16;
          for (std::int64_t p = 0; p < panels; ++p) {
            const std::int64_t columns_left = w.rows - (panel + p) * 16;
            const std::int64_t lanes = columns_left < 16 ? columns_left : 16;
            const F d = load(products + (i * kTilePanels + p) * 16);
            const F before = s == 0 ? zero() : load_n(y + p * 16, lanes);
            store_n(y + p * 16, dense ? add(d, before) : folded(grids[p], x_sum, d, before), lanes);
          }
        }
      }
      x += block.rows * words;
    }
  }
}

// How far ahead of a panel's codes memory is asked for them.
constexpr std::int64_t kBrainPrefetchBytes = 1024;

// A line of codes of each panel. Panel by panel within a word, so that operations that wait for one another stand far apart.
template <int Bits, int Panels, int J = 0>
QUENCH_INLINE void dot_words(const std::uint8_t* const* lines, const std::uint32_t* x, F* d) {
  if constexpr (J < Coded<Bits>::words) {
    const Pairs value = as_pairs(int_set1(static_cast<std::int32_t>(x[J])));
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) d[p] = dot_pairs(as_pairs(coded_word<Bits, J>(lines[p])), value, d[p]);
    dot_words<Bits, Panels, J + 1>(lines, x, d);
  }
}

// One row: codes go straight from memory to registers.
template <int Bits, int Panels> void brain_row_of_codes(const BrainBlock& block, std::int64_t panel, F* y) {
  const WeightView& w = block.weight;
  constexpr int bytes = Coded<Bits>::bytes;
  const std::int64_t panel_bytes = block.lines * bytes;
  const std::uint32_t* x = block.x;
#pragma GCC unroll 4
  for (int p = 0; p < Panels; ++p) y[p] = zero();
  for (std::int64_t s = 0; s < block.segment_count; ++s) {
    const BrainSegment& segment = block.segments[s];
    const std::uint8_t* lines[Panels];
    F d[Panels];
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) {
      lines[p] = static_cast<const std::uint8_t*>(w.panels) + (panel + p) * panel_bytes + segment.first_line * bytes;
      d[p] = zero();
      const std::int64_t soon = ((panel + p) * block.groups + segment.group + 4) * 16;
      prefetch(w.scales + soon);
      prefetch(w.zeros + soon);
    }
    for (std::int64_t i = 0; i < segment.lines; ++i) {
      // Behind a panel's end come the panels that are read beside it; the next to be read begins behind those.
      const bool within = (segment.first_line + i) * bytes + kBrainPrefetchBytes < panel_bytes;
      const std::int64_t ahead = within ? kBrainPrefetchBytes : kBrainPrefetchBytes + (Panels - 1) * panel_bytes;
#pragma GCC unroll 4
      for (int p = 0; p < Panels; ++p) prefetch(lines[p] + ahead);
      dot_words<Bits, Panels>(lines, x, d);
      x += Coded<Bits>::words;
#pragma GCC unroll 4
      for (int p = 0; p < Panels; ++p) lines[p] += bytes;
    }
    const F x_sum = set1(block.sums[s]);
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) y[p] = folded(brain_grid<Bits>(w, panel + p, block.groups, segment.group), x_sum, d[p], y[p]);
  }
}

template <typename Lane, int Panels> void brain_row_of_dense(const BrainBlock& block, std::int64_t panel, F* y) {
  const WeightView& w = block.weight;
  const std::uint32_t* x = block.x;
#pragma GCC unroll 4
  for (int p = 0; p < Panels; ++p) y[p] = zero();
  for (std::int64_t s = 0; s < block.segment_count; ++s) {
    const BrainSegment& segment = block.segments[s];
    F d[Panels];
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) d[p] = zero();
    for (std::int64_t line = segment.first_line; line < segment.first_line + segment.lines; ++line, ++x) {
      const Pairs value = as_pairs(int_set1(static_cast<std::int32_t>(*x)));
#pragma GCC unroll 4
      for (int p = 0; p < Panels; ++p) {
        const Lane* from = static_cast<const Lane*>(w.panels) + (panel + p) * w.cols * 16;
        d[p] = dot_pairs(as_pairs(dense_word(from, 2 * line, w.cols)), value, d[p]);
      }
    }
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) y[p] = add(d[p], y[p]);
  }
}

template <int Panels> void brain_row_of_panels(const BrainBlock& block, std::int64_t panel, F* y) {
  switch (block.weight.format) {
    case WeightFormat::f32: return brain_row_of_dense<float, Panels>(block, panel, y);
    case WeightFormat::f16: return brain_row_of_dense<HalfLane, Panels>(block, panel, y);
    case WeightFormat::bf16: return brain_row_of_dense<BrainLane, Panels>(block, panel, y);
    case WeightFormat::q8: return brain_row_of_codes<8, Panels>(block, panel, y);
    case WeightFormat::q4: return brain_row_of_codes<4, Panels>(block, panel, y);
    case WeightFormat::q3: return brain_row_of_codes<3, Panels>(block, panel, y);
    case WeightFormat::q2: return brain_row_of_codes<2, Panels>(block, panel, y);
  }
}

void brain_block(const BrainBlock& block) {
  if (block.rows > 1) return brain_rows(block);
  F y[kGemvPanels];
  for (std::int64_t panel = block.panel_begin, panels = 0; panel < block.panel_end; panel += panels) {
    panels = block.panel_end - panel < kGemvPanels ? 1 : kGemvPanels;
    if (panels == kGemvPanels)
      brain_row_of_panels<kGemvPanels>(block, panel, y);
    else
      brain_row_of_panels<1>(block, panel, y);
    for (std::int64_t p = 0; p < panels; ++p) {
      const std::int64_t columns_left = block.weight.rows - (panel + p) * 16;
      store_n(block.y + (panel + p) * 16, y[p], columns_left < 16 ? columns_left : 16);
    }
  }
}

// Two tokens of up to sixteen columns, x times a power of two rounded to bf16; 0 behind the last token.
QUENCH_INLINE I token_word(const float* x, std::int64_t stride, std::int64_t token, std::int64_t tokens, std::int64_t used, F factor) {
  const float* from = x + token * stride;
  return pair_of(round_brain(mul(load_n(from, used), factor)),
                 token + 1 < tokens ? round_brain(mul(load_n(from + stride, used), factor)) : zero());
}

// Columns [0, count) of x[tokens] times `factors`: panels of [word][16].
void brain_lanes(const float* x, std::int64_t stride, std::int64_t tokens, std::int64_t count, const float* factors, std::uint32_t* out) {
  const std::int64_t words = (tokens + 1) / 2;
  for (std::int64_t first = 0; first < count; first += 16) {
    const std::int64_t used = count - first < 16 ? count - first : 16;
    const F factor = load_n(factors + first, used);
    for (std::int64_t word = 0; word < words; ++word, out += 16)
      int_store(out, token_word(x + first, stride, 2 * word, tokens, used, factor));
  }
}

// The same as micro-panels of a product's rows.
void brain_columns(const float* x, std::int64_t stride, std::int64_t tokens, std::int64_t count, const float* factors, std::uint32_t* out) {
  const std::int64_t words = (tokens + 1) / 2;
  for (std::int64_t first = 0, width = 0; first < count; first += width) {
    width = micro_panel_rows(count - first, kPairRows);
    const F factor = load_n(factors + first, width);
    for (std::int64_t word = 0; word < words; ++word, out += width) {
      std::uint32_t lanes[16];
      int_store(lanes, token_word(x + first, stride, 2 * word, tokens, width, factor));
      for (std::int64_t i = 0; i < width; ++i) out[i] = lanes[i];
    }
  }
}

void brain_hessian_tile(const BrainHessianTile& t) {
  const D unit = double_set1(t.unit);
  float products[kPairRows * kTilePanels * 16];
  for (std::int64_t panel = 0; panel < t.panels; panel += kTilePanels) {
    const std::int64_t panels = t.panels - panel < kTilePanels ? t.panels - panel : kTilePanels;
    const std::uint32_t* b[kTilePanels] = {};
    for (std::int64_t p = 0; p < panels; ++p) b[p] = t.b + (panel + p) * t.words * 16;
    for (std::int64_t row = 0, rows = 0; row < t.rows; row += rows) {
      rows = micro_panel_rows(t.rows - row, kPairRows);
      std::int64_t* sums = t.sums + row * t.stride + panel * 16;
      // The sums come from memory: eight to a cache line.
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t at = 0; at < 16 * panels; at += 8) prefetch(sums + i * t.stride + at);
      any_pair_tile(rows, panels, t.words, t.a + row * t.words, b, products, kTilePanels * 16);
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t p = 0; p < panels; ++p)
          add_rounded(sums + i * t.stride + p * 16, double_mul(widen(load(products + (i * kTilePanels + p) * 16)), unit));
    }
  }
}

void brain_update(const BrainUpdate& u) {
  float products[kPairRows * kTilePanels * 16];
  for (std::int64_t panel = 0; panel < u.panels; panel += kTilePanels) {
    const std::int64_t panels = u.panels - panel < kTilePanels ? u.panels - panel : kTilePanels;
    const std::uint32_t* b[kTilePanels] = {};
    for (std::int64_t p = 0; p < panels; ++p) b[p] = u.b + (panel + p) * u.panel_stride;
    for (std::int64_t row = 0, rows = 0; row < u.rows; row += rows) {
      rows = micro_panel_rows(u.rows - row, kPairRows);
      float* y = u.y + row * u.y_stride + panel * u.y_panel_stride;
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t p = 0; p < panels; ++p) prefetch(y + i * u.y_stride + p * u.y_panel_stride);
      any_pair_tile(rows, panels, u.words, u.a + row * u.words, b, products, kTilePanels * 16);
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t p = 0; p < panels; ++p) {
          float* at = y + i * u.y_stride + p * u.y_panel_stride;
          store(at, add(load(products + (i * kTilePanels + p) * 16), load(at)));
        }
    }
  }
}

}  // namespace

void QUENCH_FILL_BRAIN_DOT(KernelTable& table) {
  table.pair_rows = kPairRows;
  table.brain_row = brain_row;
  table.brain_sum = brain_sum;
  table.brain_block = brain_block;
  table.brain_lanes = brain_lanes;
  table.brain_columns = brain_columns;
  table.brain_hessian_tile = brain_hessian_tile;
  table.brain_update = brain_update;
}

}  // namespace quench::kernels::QUENCH_ISA
