#include "schemas/bit_budget.h"

#include <algorithm>

#include "schemas/packed_layout.h"

namespace quench {

std::vector<std::pair<std::uint32_t, std::int32_t>> budget_choices(const LinearShape& linear) {
  std::vector<std::int32_t> groups;
  for (const std::int32_t group_size : {32, 64, 128})
    if (static_cast<std::uint32_t>(group_size) < linear.inputs) groups.push_back(group_size);
  if (groups.empty()) groups.push_back(-1);
  std::vector<std::pair<std::uint32_t, std::int32_t>> choices;
  for (const std::uint32_t bits : {2u, 3u, 4u, 8u})
    for (const std::int32_t group_size : groups) choices.emplace_back(bits, group_size);
  return choices;
}

QuantizeSpec with_choice(QuantizeSpec recipe, std::uint32_t bits, std::int32_t group_size) {
  recipe.budget_gib = 0;
  recipe.bits = bits;
  recipe.group_size = group_size;
  return recipe;
}

std::uint64_t packed_linear_bytes(const LinearShape& linear, const QuantizeSpec& recipe) {
  std::uint64_t bytes = 0;
  if (recipe.method == Method::aqlm) {
    AdditiveTileShape tile{0, linear.inputs, recipe.codebooks, recipe.codebook_bits,
                           static_cast<std::uint32_t>(recipe.group_size)};
    for (std::uint32_t i = 0; i < tile_count(linear); ++i) {
      tile.rows = rows_of_tile(linear, i);
      bytes += tile.bytes();
    }
    return bytes + tile.codebook_bytes();
  }
  for (std::uint32_t i = 0; i < tile_count(linear); ++i) {
    const PackedTileShape tile{rows_of_tile(linear, i), linear.inputs, recipe.bits,
                               recipe.method == Method::int8 ? -1 : recipe.group_size};
    bytes += tile.bytes();
  }
  if (recipe.method == Method::gptq && recipe.act_order) bytes += std::uint64_t{linear.inputs} * 4;
  return bytes;
}

std::uint64_t budget_bytes(const QuantizeSpec& recipe) {
  return static_cast<std::uint64_t>(recipe.budget_gib * kGiB);
}

}  // namespace quench
