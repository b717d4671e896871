#include "schemas/packed_layout.h"

#include "schemas/error.h"
#include "schemas/job_spec.h"

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

std::string additive_fault(std::uint64_t codebooks, std::uint64_t bits, std::int64_t group_size, std::uint64_t inputs) {
  if (codebooks < 1 || codebooks > kCodebooksMax)
    return std::to_string(codebooks) + " codebooks; expected 1 to " + std::to_string(kCodebooksMax);
  if (bits < 1 || bits > kCodebookBitsMax)
    return "codes of " + std::to_string(bits) + " bits; expected 1 to " + std::to_string(kCodebookBitsMax);
  if (group_size != 8 && group_size != 16)
    return "groups of " + std::to_string(group_size) + " inputs; expected 8 or 16";
  if (inputs % static_cast<std::uint64_t>(group_size) != 0)
    return std::to_string(inputs) + " inputs, which groups of " + std::to_string(group_size) +
           " do not divide; take another groupSize, or another method";
  return {};
}

std::string sample_fault(std::uint64_t bits, std::int64_t group_size, std::uint64_t outputs, std::uint64_t inputs) {
  const std::uint64_t groups = outputs * (inputs / static_cast<std::uint64_t>(group_size)), entries = std::uint64_t{1} << bits;
  if (entries <= groups) return {};
  return std::to_string(entries) + " codebook entries (" + std::to_string(bits) + " bits) but only " +
         std::to_string(groups) + " groups of weights to learn them from; take fewer codebookBits";
}

}  // namespace quench
