// How a quantized linear lies in its chunks. One chunk holds one row tile (model_config.h:
// tile_rows): panels of 16 rows, rows side by side, so that rows are the lanes of decode and
// prefill alike. kernels/ computes on exactly these bytes; its README states the bit order.
//
//   chunk = codes  [panels][panel_code_bytes]        per column k the 16 rows' codes
//         | scales [panels][groups][16] fp16 little-endian
//         | zeros  [panels][groups][16] uint8
//
// Rows beyond the last are padded with code = zero and scale 1 in the last panel, so that they add nothing.
#pragma once

#include <cstdint>

namespace quench {

inline constexpr std::uint32_t kPanelRows = 16;

struct PackedTileShape {
  std::uint32_t rows = 0;    // of this tile, before padding
  std::uint32_t inputs = 0;  // K
  std::uint32_t bits = 0;    // 8, 4, 3, 2
  std::int32_t group_size = -1;

  std::uint32_t panels() const { return (rows + kPanelRows - 1) / kPanelRows; }
  std::uint32_t groups() const;
  // Bytes of one panel's codes: K × 16 × bits / 8.
  std::uint64_t panel_code_bytes() const { return std::uint64_t{inputs} * 2 * bits; }
  std::uint64_t code_bytes() const { return panels() * panel_code_bytes(); }
  std::uint64_t scale_bytes() const { return std::uint64_t{panels()} * groups() * kPanelRows * 2; }
  std::uint64_t zero_bytes() const { return std::uint64_t{panels()} * groups() * kPanelRows; }
  std::uint64_t bytes() const { return code_bytes() + scale_bytes() + zero_bytes(); }
};

// The code of (row 0…15 of a panel, column k) from the panel's code bytes, in the layout that the
// kernels use: 8 bits: byte 16k+r. 4 bits: byte 8k + (r mod 8), low nibble for r < 8. 2 bits: byte
// 4k + (r mod 4), bits 2·(r div 4). 3 bits: a 2-bit plane as at 2 bits in 4 bytes, then 2 bytes with
// bit r of the code's third bit; 6 bytes per column.
std::uint32_t code_at(const std::uint8_t* panel_codes, std::uint32_t bits, std::uint32_t row,
                      std::uint32_t k);

}  // namespace quench
