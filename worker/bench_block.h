// Quantizing one block with random weights on random hidden states: the unit of a large job's time and memory, without
// its model. Every rank of a gang calls this together, as it would quantize_calibrated_block.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "cluster/collective/collective.h"
#include "kernels/backend.h"
#include "schemas/job_spec.h"
#include "schemas/model_config.h"

namespace quench::worker {

struct BlockMeasurement {
  double total_s = 0;
  // Seconds by kind of step on this rank: "read", "forward", "hessian", "factor", "solve"; and by kind and linears.
  std::map<std::string, double> step_s, detail_s;
  double mean_relative_loss = 0;
  std::uint64_t peak_resident_bytes = 0;  // of this process so far
};

// `config.layers` is 1. `sequences` are shared out over the ranks.
BlockMeasurement measure_block(kernels::Backend& backend, cluster::Collective& gang, const ModelConfig& config,
                               const QuantizeSpec& recipe, std::uint32_t sequences, std::uint32_t length);

}  // namespace quench::worker
