// How a quantized linear lies in its chunks. One chunk holds one row tile (model_config.h:
// tile_rows): panels of 16 rows, rows side by side, so that rows are the lanes of decode and
// prefill alike. kernels/weight_panels.h computes on exactly these bytes.
//
//   chunk = codes  [panels][panel_code_bytes]
//         | scales [panels][groups][16] fp16 little-endian
//         | zeros  [panels][groups][16] uint8
//
// A panel's codes are 64-byte lines of 16 little-endian 32-bit words, word r for row r:
//   8 bits  line g: byte j of a word is the code at k = 4g + j
//   4 bits  line g: bits 4j … 4j+3 are the code at k = 8g + j
//   2 bits  line g: bits 2j, 2j+1 are the code at k = 16g + j
//   3 bits  three lines for 32 columns k = 32g + j: the low two bits of j = 0 … 15 as at 2 bits, those
//           of j = 16 … 31 likewise, then one line whose bit j is the high bit of the code of j
// Codes beyond K are zero. Rows beyond the last have code 0, zero 0 and scale 1: they add nothing.
//
// A linear of codebook entries (aqlm) has one chunk of codebooks, fp16 little-endian [codebooks][2^bits][group], and one
// chunk per row tile:
//
//   chunk = codes  [panels][groups][codebooks] of sixteen codes, row after row, `bits` bits each, lowest bit first
//         | scales [panels][16] fp16 little-endian
//
// The weights of a group are the row's scale times the sum of one entry of each codebook: kernels/codebook.h. Rows
// beyond the last have codes 0 and scale 0.
#pragma once

#include <cstdint>
#include <string>

namespace quench {

inline constexpr std::uint32_t kPanelRows = 16;
// Inputs of a linear whose activations are integers: the sum of so many products of 8 bits fits an int32.
inline constexpr std::uint32_t kIntegerInputsMax = 1 << 17;

struct PackedTileShape {
  std::uint32_t rows = 0;    // of this tile, before padding
  std::uint32_t inputs = 0;  // K
  std::uint32_t bits = 0;    // 8, 4, 3, 2
  std::int32_t group_size = -1;

  std::uint32_t panels() const { return (rows + kPanelRows - 1) / kPanelRows; }
  std::uint32_t groups() const;
  // Bytes of one panel's codes: whole lines.
  std::uint64_t panel_code_bytes() const {
    const std::uint64_t line_columns = bits == 3 ? 32 : 32 / bits;
    return (inputs + line_columns - 1) / line_columns * (bits == 3 ? 192 : 64);
  }
  std::uint64_t code_bytes() const { return panels() * panel_code_bytes(); }
  std::uint64_t scale_bytes() const { return std::uint64_t{panels()} * groups() * kPanelRows * 2; }
  std::uint64_t zero_bytes() const { return std::uint64_t{panels()} * groups() * kPanelRows; }
  std::uint64_t bytes() const { return code_bytes() + scale_bytes() + zero_bytes(); }
};

struct AdditiveTileShape {
  std::uint32_t rows = 0;    // of this tile, before padding
  std::uint32_t inputs = 0;  // K, a multiple of the group
  std::uint32_t codebooks = 0;
  std::uint32_t bits = 0;        // of a code, 1 .. 16
  std::uint32_t group_size = 0;  // 8 or 16

  std::uint32_t panels() const { return (rows + kPanelRows - 1) / kPanelRows; }
  std::uint32_t groups() const { return inputs / group_size; }
  std::uint64_t codebook_bytes() const { return (std::uint64_t{codebooks} << bits) * group_size * 2; }
  std::uint64_t code_bytes() const { return std::uint64_t{panels()} * groups() * codebooks * 2 * bits; }
  std::uint64_t scale_bytes() const { return std::uint64_t{panels()} * kPanelRows * 2; }
  std::uint64_t bytes() const { return code_bytes() + scale_bytes(); }
};
// What is wrong with such a linear of K inputs; empty when nothing is.
std::string additive_fault(std::uint64_t codebooks, std::uint64_t bits, std::int64_t group_size, std::uint64_t inputs);
// Whether it has more entries than groups to learn them from; empty when not.
std::string sample_fault(std::uint64_t bits, std::int64_t group_size, std::uint64_t outputs, std::uint64_t inputs);

// The code of row 0 … 15 of a panel at column k.
std::uint32_t code_at(const std::uint8_t* panel_codes, std::uint32_t bits, std::uint32_t row,
                      std::uint32_t k);

}  // namespace quench
