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

// What the pass over the unquantized model found. Budgets of one job that differ in nothing else have the same, so one pass
// serves them all.
struct PricedModel {
  QuantizeSpec recipe;  // without a name and a budget; meaningless while there are no linears
  Digest calibration;
  std::vector<std::string> tensors;
  std::vector<std::vector<PricedChoice>> linears;
  double seconds = 0;  // that the pass took

  bool serves(const QuantizeSpec& other, const Digest& its_calibration) const;
};

// For each linear the index of its choice: the smallest sum of losses with a sum of bytes of at most
// `bytes_max`. Exact up to rounding sizes up to a 50,000th of what there is to distribute; what rounding
// left is spent on the best single changes that still fit. Equal sums: fewer bytes, then the earlier choice.
// Throws Error(bad_input) when the smallest do not fit. Pure.
std::vector<std::size_t> cheapest_choices(const std::vector<std::vector<PricedChoice>>& linears,
                                          std::uint64_t bytes_max);

// One pass over the unquantized model. `hidden` holds this rank's embedded sequences and is spent.
PricedModel price_model(const GangContext& context, const QuantizeSpec& recipe, const kernels::RopeTable& rope,
                        std::int64_t length, std::int64_t total_tokens, kernels::MatrixView hidden,
                        const std::function<void(std::uint32_t layer, const std::string& step)>& on_step);
// `bytes_max` is what the blocks' linears may take.
std::vector<BitChoice> choose_bits(const GangContext& context, const QuantizeSpec& recipe, const PricedModel& priced,
                                   std::uint64_t bytes_max);

}  // namespace quench::worker
