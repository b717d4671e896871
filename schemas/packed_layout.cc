#include "schemas/packed_layout.h"

#include "schemas/error.h"

namespace quench {
namespace {

constexpr std::uint32_t kWordBytes = 4;
constexpr std::uint32_t kLineBytes = kPanelRows * kWordBytes;

std::uint32_t word_at(const std::uint8_t* panel_codes, std::uint64_t line, std::uint32_t row) {
  const std::uint8_t* word = panel_codes + line * kLineBytes + row * kWordBytes;
  return word[0] | word[1] << 8 | word[2] << 16 | std::uint32_t{word[3]} << 24;
}

}  // namespace

std::uint32_t PackedTileShape::groups() const {
  QUENCH_CHECK(group_size != 0, group_size);
  if (group_size < 0 || static_cast<std::uint32_t>(group_size) >= inputs) return 1;
  const auto size = static_cast<std::uint32_t>(group_size);
  return (inputs + size - 1) / size;
}

std::uint32_t code_at(const std::uint8_t* panel_codes, std::uint32_t bits, std::uint32_t row,
                      std::uint32_t k) {
  QUENCH_CHECK(row < kPanelRows && (bits == 8 || bits == 4 || bits == 3 || bits == 2), row, bits);
  if (bits != 3) {
    const std::uint32_t per_word = 32 / bits;
    return word_at(panel_codes, k / per_word, row) >> (bits * (k % per_word)) & ((1u << bits) - 1);
  }
  const std::uint64_t first_line = k / 32 * 3;
  const std::uint32_t j = k % 32;
  const std::uint32_t low = word_at(panel_codes, first_line + j / 16, row) >> (2 * (j % 16)) & 3;
  const std::uint32_t high = word_at(panel_codes, first_line + 2, row) >> j & 1;
  return low | high << 2;
}

}  // namespace quench
