// One transformer block by AWQ: the original block runs on the quantized prefix, each stage's Hessian and mean |x| decide
// the scales of its inputs, and once the scales on both sides of a linear are known its rows are scaled, clipped and
// rounded. The norms (and biases) of the artifact are the source's over the scales, as fp32. Grouped key and value heads share an
// output among several inputs of `o`, so `o` has scales only where every query head has its own; a gelu
// between `up` and `down` lets no scale through, so `down` has none without a gate.
#pragma once

#include <functional>
#include <string>

#include "worker/quantize/block_pipeline.h"

namespace quench::worker {

// As quantize_calibrated_block, which calls it.
CalibratedBlock quantize_scaled_block(const GangContext& context, const QuantizeSpec& recipe, std::uint32_t layer,
                                      const kernels::RopeTable& rope, std::int64_t length, std::int64_t total_tokens,
                                      kernels::MatrixView hidden, const std::function<void(const std::string&)>& on_step);

}  // namespace quench::worker
