// How GGUF keeps a linear's weights: whole rows of blocks that each hold a scale and whole numbers.
//
//   F16   any artifact, dequantized and rounded
//   Q8_0  32 weights: fp16 scale, 32 int8
//   Q4_0  32 weights: fp16 scale, 32 codes minus 8
//   Q4_K  256 weights: fp16 scales d and dmin; of each 32 two numbers a and b below 64; codes: d a code - dmin b
//
// The last three hold a packed artifact, and only one whose grids they hold exactly.
// A scale of ours is any fp16 number, and Q4_K's eight are multiples of one. So it is exact for groups of 256, their
// multiples and whole rows, where a is 1 and b the zero; of smaller groups only by chance, and refused otherwise.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "coordinator/export/linear_tiles.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

enum class GgufKind : std::uint32_t { f16 = 1, q4_0 = 2, q8_0 = 8, q4_k = 12 };  // the format's numbers

std::string_view name_of(GgufKind kind);
// Bytes of a row of `inputs` weights. Throws Error(bad_input) naming the tensor when it is not packed, or its rows or
// groups are no blocks of `kind`, which is not f16.
std::uint64_t block_row_bytes(const TensorRecord& tensor, GgufKind kind);
// The tile's rows. Throws Error(bad_input) naming the tensor when a block cannot hold its weights exactly.
Bytes encoded_blocks(const PackedLinear& linear, const TensorRecord& tensor, const RowTile& tile, GgufKind kind);

// What Q4_K has for eight groups of 32 besides their codes: group j's weights are d scales[j] code - dmin minima[j].
struct SuperBlock {
  std::uint16_t scale = 0, minimum = 0;  // d and dmin, fp16 bits
  std::array<std::uint8_t, 8> scales{}, minima{};
};
// That of groups with these fp16 scales and zeros, whose weights are (code - zero) scale; none if no such numbers are exact.
std::optional<SuperBlock> exact_super_block(const std::array<std::uint16_t, 8>& scales, const std::array<std::uint8_t, 8>& zeros);

}  // namespace quench::coordinator
