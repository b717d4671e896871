// y = x Wᵀ on one block: 2 * rows * 16 * panels * k_count flops. A block's weights are expanded to fp32
// once (f32 panels are read in place) and stay in the first-level cache while x's micro-panels pass.
#include "kernels/cpu/lanes/expand.inl"
#include "kernels/cpu/lanes/tile.inl"

namespace quench::kernels::QUENCH_ISA {
namespace {

template <int Bits>
void expand_packed(const WeightView& w, std::int64_t panel, std::int64_t k_begin, std::int64_t k_count, float* out) {
  constexpr int per = Packing<Bits>::columns;
  const std::int64_t lines = (w.cols + per - 1) / per;
  const std::uint8_t* base = static_cast<const std::uint8_t*>(w.panels) + panel * lines * Packing<Bits>::bytes;
  const std::int64_t group_size = w.group_size < 0 ? w.cols : w.group_size;
  const std::int64_t groups = (w.cols + group_size - 1) / group_size;
  const std::int64_t k_end = k_begin + k_count;
  std::int64_t k = k_begin;
  while (k < k_end) {
    const std::int64_t group = k / group_size;
    const std::int64_t segment_end = (group + 1) * group_size < k_end ? (group + 1) * group_size : k_end;
    const Grid grid = load_grid<Bits>(w, panel, groups, group);
    while (k < segment_end) {
      const std::uint8_t* line = base + k / per * Packing<Bits>::bytes;
      const int j = static_cast<int>(k % per);
      if constexpr (kUnrollLines) {
        if (j == 0 && k + per <= segment_end) {
          // What is expanded next, while this is multiplied.
          prefetch_second_level(line + kTilePanels * lines * Packing<Bits>::bytes);
          if constexpr (Bits == 3) {
            prefetch_second_level(line + kTilePanels * lines * Packing<Bits>::bytes + 64);
            prefetch_second_level(line + kTilePanels * lines * Packing<Bits>::bytes + 128);
          }
          for_codes<Bits>(line, [&](int at, F code) { store(out + at * 16, dequantize_code(code, grid)); });
          out += per * 16;
          k += per;
          continue;
        }
      }
      store(out, dequantize_code(code_at<Bits>(line, j), grid));
      out += 16;
      ++k;
    }
  }
}

void expand_panel(const WeightView& w, std::int64_t panel, std::int64_t k_begin, std::int64_t k_count, float* out) {
  const std::int64_t first = (panel * w.cols + k_begin) * 16;
  switch (w.format) {
    case WeightFormat::f32: {
      const float* source = static_cast<const float*>(w.panels) + first;
      for (std::int64_t k = 0; k < k_count; ++k) store(out + k * 16, load(source + k * 16));
      return;
    }
    case WeightFormat::f16: {
      const std::uint16_t* source = static_cast<const std::uint16_t*>(w.panels) + first;
      for (std::int64_t k = 0; k < k_count; ++k) store(out + k * 16, load_f16(source + k * 16));
      return;
    }
    case WeightFormat::bf16: {
      const std::uint16_t* source = static_cast<const std::uint16_t*>(w.panels) + first;
      for (std::int64_t k = 0; k < k_count; ++k) store(out + k * 16, load_bf16(source + k * 16));
      return;
    }
    case WeightFormat::q8: return expand_packed<8>(w, panel, k_begin, k_count, out);
    case WeightFormat::q4: return expand_packed<4>(w, panel, k_begin, k_count, out);
    case WeightFormat::q3: return expand_packed<3>(w, panel, k_begin, k_count, out);
    case WeightFormat::q2: return expand_packed<2>(w, panel, k_begin, k_count, out);
  }
}

template <int Rows>
void pack_micro_panel(const float* x, std::int64_t stride, std::int64_t k_count, float* packed) {
  for (std::int64_t k = 0; k < k_count; ++k) {
    for (int i = 0; i < Rows; ++i) packed[k * Rows + i] = x[i * stride + k];
  }
}

void pack_rows(const float* x, std::int64_t stride, std::int64_t rows, std::int64_t k_count, float* packed) {
  std::int64_t row = 0;
  for (; rows - row >= 2 * kTileRows || rows - row == kTileRows; row += kTileRows) {
    pack_micro_panel<kTileRows>(x + row * stride, stride, k_count, packed + row * k_count);
  }
  while (row < rows) {
    const std::int64_t used = micro_panel_rows(rows - row, kTileRows);
    float* out = packed + row * k_count;
    for (std::int64_t k = 0; k < k_count; ++k) {
      for (std::int64_t i = 0; i < used; ++i) out[k * used + i] = x[(row + i) * stride + k];
    }
    row += used;
  }
}

void gemm_block(const GemmBlock& block) {
  const WeightView& w = block.weight;
  for (std::int64_t panel = block.panel_begin; panel < block.panel_end; panel += kTilePanels) {
    const std::int64_t left = block.panel_end - panel;
    const std::int64_t panels = left < kTilePanels ? left : kTilePanels;
    const float* b[kTilePanels] = {};
    for (std::int64_t p = 0; p < panels; ++p) {
      if (w.format == WeightFormat::f32) {
        b[p] = static_cast<const float*>(w.panels) + ((panel + p) * w.cols + block.k_begin) * 16;
      } else {
        float* expanded = block.scratch + p * block.k_count * 16;
        expand_panel(w, panel + p, block.k_begin, block.k_count, expanded);
        b[p] = expanded;
      }
    }
    const std::int64_t columns_left = w.rows - (panel + panels - 1) * 16;
    const std::int64_t last_lanes = columns_left < 16 ? columns_left : 16;
    float* y = block.y + panel * block.y_panel_stride;
    for (std::int64_t row = 0, rows = 0; row < block.rows; row += rows) {
      rows = micro_panel_rows(block.rows - row, kTileRows);
      // What the next tile goes on from: one line a row and panel, which no stream brings in.
      if (block.carry && row + rows < block.rows) {
        for (std::int64_t i = row + rows; i < row + rows + kTileRows && i < block.rows; ++i) {
          for (std::int64_t p = 0; p < panels; ++p) prefetch(y + i * block.y_stride + p * block.y_panel_stride);
        }
      }
      any_tile(rows, panels, block.k_count, block.packed + row * block.k_count, b, y + row * block.y_stride,
               block.y_stride, block.y_panel_stride, last_lanes, block.carry);
    }
  }
}

}  // namespace

void fill_gemm(KernelTable& table) {
  table.gemm_rows = kTileRows;
  table.gemm_panels = kTilePanels;
  table.pack_rows = pack_rows;
  table.gemm_block = gemm_block;
  table.expand_panel = expand_panel;
}

}  // namespace quench::kernels::QUENCH_ISA
