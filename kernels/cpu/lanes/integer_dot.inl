// y = x Wᵀ in whole numbers: x's rows are rounded to signed bytes, W has codes of eight bits with a zero, and sums of their
// products are exact in 32 bits, so that no order of them, no instruction and no number of threads can show:
//   y = s_x s_w (sum_k x_k code_k - zero sum_k x_k),  s_x s_w rounded first, then the product
// A word of a panel's line holds four codes of one row, which is what a dot product of bytes takes. 2 * rows * 16 * panels *
// cols operations, a byte read for every 2 * rows of them.
#include "kernels/cpu/lanes/exp.inl"
#include "kernels/cpu/lanes/row_energy.inl"

namespace quench::kernels::QUENCH_ISA {
namespace {

void quantize_row(const float* x, std::int64_t count, float scale, std::int8_t* out, float* row_scale, std::int32_t* sum) {
  if (scale == 0.0f) {
    const I magnitude = int_set1(0x7fffffff);
    F most = zero();
    for (std::int64_t i = 0; i < count; i += 16) {
      const std::int64_t n = count - i < 16 ? count - i : 16;
      most = maximum(as_float(int_and(as_int(load_n(x + i, n)), magnitude)), most);
    }
    scale = max_lanes(most) / 127.0f;
  }
  *row_scale = scale;
  *sum = 0;
  const std::int64_t padded = (count + 3) / 4 * 4;
  // Nothing but zeros, or numbers so small that their scale vanishes.
  if (!(scale > 0.0f)) {
    for (std::int64_t i = 0; i < padded; ++i) out[i] = 0;
    return;
  }
  const F divisor = set1(scale), low = set1(-127.0f), high = set1(127.0f);
  std::int32_t total = 0;
  for (std::int64_t i = 0; i < count; i += 16) {
    const std::int64_t n = count - i < 16 ? count - i : 16;
    std::int32_t whole[16];
    int_store(whole, nearest_int(minimum(maximum(div(load_n(x + i, n), divisor), low), high)));
    std::int8_t narrow[16];
    for (int lane = 0; lane < 16; ++lane) {
      total += whole[lane];
      narrow[lane] = static_cast<std::int8_t>(whole[lane]);
    }
    if (n == 16) {
      __builtin_memcpy(out + i, narrow, 16);
    } else {
      for (std::int64_t lane = 0; lane < n; ++lane) out[i + lane] = narrow[lane];
    }
  }
  for (std::int64_t i = count; i < padded; ++i) out[i] = 0;
  *sum = total;
}

// -zero * sum in each lane, with the wrapping of 32 bits that the products have.
QUENCH_INLINE I start_of(const std::uint8_t* zeros, std::int32_t sum) {
  std::uint32_t start[16];
  for (int lane = 0; lane < 16; ++lane) start[lane] = 0u - zeros[lane] * static_cast<std::uint32_t>(sum);
  return int_load(start);
}

template <int Rows, int Panels>
void integer_tile(const IntegerBlock& block, std::int64_t row, std::int64_t panel) {
  const WeightView& w = block.weight;
  const std::int64_t lines = (w.cols + 3) / 4;
  const std::uint8_t* codes[Panels];
  const std::int8_t* x = block.x + row * block.x_stride;
  I sum[Rows][Panels];
#pragma GCC unroll 4
  for (int p = 0; p < Panels; ++p) {
    codes[p] = static_cast<const std::uint8_t*>(w.panels) + (panel + p) * lines * 64;
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) sum[i][p] = start_of(w.zeros + (panel + p) * 16, block.sums[row + i]);
  }
  for (std::int64_t line = 0; line < lines; ++line) {
    I weight[Panels];
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) weight[p] = int_load(codes[p] + line * 64);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      std::int32_t word;
      __builtin_memcpy(&word, x + (line * Rows + i) * 4, 4);
      const I values = int_set1(word);
#pragma GCC unroll 4
      for (int p = 0; p < Panels; ++p) sum[i][p] = dot_bytes(weight[p], values, sum[i][p]);
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < Panels; ++p) {
    const F scale = load_f16(w.scales + (panel + p) * 16);
    const std::int64_t columns_left = w.rows - (panel + p) * 16;
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      const F y = mul(int_to_float(sum[i][p]), mul(set1(block.scales[row + i]), scale));
      store_n(block.y + (row + i) * block.y_stride + (panel + p) * 16, y, columns_left < 16 ? columns_left : 16);
    }
  }
}

template <int Rows, int Panels>
void integer_rows(const IntegerBlock& block, std::int64_t row, std::int64_t rows, std::int64_t panel) {
  if constexpr (Rows > 0) {
    if (rows == Rows) return integer_tile<Rows, Panels>(block, row, panel);
    integer_rows<Rows - 1, Panels>(block, row, rows, panel);
  }
}

void integer_block(const IntegerBlock& block) {
  std::int64_t panel = block.panel_begin;
  while (panel < block.panel_end) {
    const std::int64_t left = block.panel_end - panel;
    const std::int64_t panels = block.rows == 1 && left >= kGemvPanels ? kGemvPanels : left < kTilePanels ? 1 : kTilePanels;
    if (block.rows == 1 && panels == kGemvPanels) {
      integer_tile<1, kGemvPanels>(block, 0, panel);
    } else {
      for (std::int64_t row = 0, rows = 0; row < block.rows; row += rows) {
        rows = micro_panel_rows(block.rows - row, kTileRows);
        if (panels == kTilePanels)
          integer_rows<kTileRows, kTilePanels>(block, row, rows, panel);
        else
          integer_rows<kTileRows, 1>(block, row, rows, panel);
      }
    }
    panel += panels;
  }
}

}  // namespace

void QUENCH_FILL_INTEGER_DOT(KernelTable& table) {
  table.quantize_row = quantize_row;
  table.integer_block = integer_block;
  table.pack_correlations = pack_correlations;
  table.scale_rows = scale_rows;
  table.correlation_products = correlation_products;
}

}  // namespace quench::kernels::QUENCH_ISA
