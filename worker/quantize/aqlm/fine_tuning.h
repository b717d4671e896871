// Block fine-tuning as arXiv 2503.07103 does it: the codebooks, scales and norms of a quantized block learn to give the
// original block's output on the activations of the already quantized prefix (tuner.h says how). Codes stay.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "cluster/collective/collective.h"
#include "schemas/job_spec.h"
#include "worker/quantize/aqlm/block_gradient.h"
#include "worker/quantize/aqlm/tuner.h"
#include "worker/quantize/calibration.h"

namespace quench::worker {

struct TuningData {
  kernels::ConstMatrixView inputs;   // own sequences one after the other: the block's input
  kernels::ConstMatrixView targets;  // the original block's output
  std::int64_t length = 0;           // tokens of a sequence
  std::uint32_t sequences = 0;       // of all ranks
  SequenceShare share;               // which of them are own
};

// Leaves `block` with the best parameters. Collective; `on_step` is told of each epoch.
TuningResult tune_block(cluster::Collective& gang, const QuantizeSpec& recipe, const TuningData& data, const KeptFile& file,
                        TrainedBlock& block,
                        const std::function<void(const std::string&)>& on_step);

}  // namespace quench::worker
