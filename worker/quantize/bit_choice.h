// A recipe with a budget: which bits and which group size each linear of the model gets. One pass over the
// unquantized model, with the Hessians of calibration: for each linear and each choice a sample of its rows
// is solved as the method will solve them, which gives the relative loss to expect. Then the choices with the
// smallest sum of relative losses that fit the budget. Every rank calls together and gets the same; nothing
// depends on the number of ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "schemas/artifact.h"
#include "worker/quantize/block_pipeline.h"

namespace quench::worker {

// One linear under one choice.
struct PricedChoice {
  std::uint32_t bits = 0;
  std::int32_t group_size = -1;
  std::uint64_t bytes = 0;
  double loss = 0;  // predicted
};

// For each linear the index of its choice: the smallest sum of losses with a sum of bytes of at most
// `bytes_max`. Exact up to rounding sizes up to a 50,000th of what there is to distribute; what rounding
// left is spent on the best single changes that still fit. Equal sums: fewer bytes, then the earlier choice.
// Throws Error(bad_input) when the smallest do not fit. Pure.
std::vector<std::size_t> cheapest_choices(const std::vector<std::vector<PricedChoice>>& linears,
                                          std::uint64_t bytes_max);

// `hidden` holds this rank's embedded sequences and is spent. `bytes_max` is what the blocks' linears may
// take.
std::vector<BitChoice> choose_bits(
    const GangContext& context, const QuantizeSpec& recipe, const kernels::RopeTable& rope,
    std::int64_t length, std::int64_t total_tokens, kernels::MatrixView hidden, std::uint64_t bytes_max,
    const std::function<void(std::uint32_t layer, const std::string& step)>& on_step);

}  // namespace quench::worker
