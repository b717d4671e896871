// Block fine-tuning as arXiv 2503.07103 does it: the codebooks, scales and norms of a quantized block learn to give the
// original block's output on the activations of the already quantized prefix. Codes stay. Adam (0.9, 0.95); the last
// calibration sequences are for validation; it ends when so many epochs brought nothing; what validated best is kept, as
// it will be stored, and that may be where it started. Gradients are exact sums, so every rank steps alike, and the
// result does not depend on the number of ranks. After each epoch the state is kept in a file, from which it goes on.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "cluster/collective/collective.h"
#include "schemas/job_spec.h"
#include "worker/quantize/aqlm/block_gradient.h"
#include "worker/quantize/aqlm/tuning_state.h"
#include "worker/quantize/calibration.h"

namespace quench::worker {

struct TuningData {
  kernels::ConstMatrixView inputs;   // own sequences one after the other: the block's input
  kernels::ConstMatrixView targets;  // the original block's output
  std::int64_t length = 0;           // tokens of a sequence
  std::uint32_t sequences = 0;       // of all ranks
  SequenceShare share;               // which of them are own
};

struct TuningResult {
  double error_before = 0;  // mean squared error on the validation sequences
  double error_after = 0;
  std::uint32_t epochs = 0;  // that were run
  std::uint32_t kept_epochs = 0;  // of them before an interruption
};

// How many of `sequences` are for validation.
std::uint32_t validation_count(const QuantizeSpec& recipe, std::uint32_t sequences);

// Leaves `block` with the best parameters. Collective; `on_step` is told of each epoch.
TuningResult tune_block(cluster::Collective& gang, const QuantizeSpec& recipe, const TuningData& data, const TuningFile& file,
                        TrainedBlock& block,
                        const std::function<void(const std::string&)>& on_step);

}  // namespace quench::worker
