// int8 with static activations (Wei et al., FSE 2023): weights rounded to nearest with a scale a row, and one scale for all
// inputs of a linear, the largest magnitude of the calibration text over 127. Stage by stage on the quantized prefix, so that a
// stage's inputs are what the quantized model will give it. q, k and v share their inputs and so their scale, as do gate
// and up. Collective; the same on all ranks and for any number of them, because a maximum is exact in any order.
#pragma once

#include <functional>
#include <string>

#include "worker/quantize/block_pipeline.h"

namespace quench::worker {

// As quantize_calibrated_block, which calls it.
CalibratedBlock quantize_static_block(const GangContext& context, const QuantizeSpec& recipe, std::uint32_t layer,
                                      const kernels::RopeTable& rope, std::int64_t length, kernels::MatrixView hidden,
                                      const std::function<void(const std::string&)>& on_step);

}  // namespace quench::worker
