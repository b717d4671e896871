// Recipes with a budget ("budgetGiB"): what may be chosen for a linear, and what it takes. The coordinator
// plans with it, the gang chooses with it (worker/quantize/bit_choice.h). Pure functions.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "schemas/job_spec.h"
#include "schemas/model_config.h"

namespace quench {

inline constexpr double kGiB = 1024.0 * 1024 * 1024;

// Bits and group size, in a fixed order: 2, 3, 4, 8 bits in groups of 32, 64, 128 inputs, those that are
// smaller than a whole row; without any, the row.
std::vector<std::pair<std::uint32_t, std::int32_t>> budget_choices(const LinearShape& linear);

// `recipe` with these settings and no budget.
QuantizeSpec with_choice(QuantizeSpec recipe, std::uint32_t bits, std::int32_t group_size);

// All chunks of a linear that is quantized by `recipe`, which has bits or codebooks; its column order with them.
std::uint64_t packed_linear_bytes(const LinearShape& linear, const QuantizeSpec& recipe);

// Bytes that the whole artifact may take: tensors and carried files.
std::uint64_t budget_bytes(const QuantizeSpec& recipe);

}  // namespace quench
