// What one block of a job takes, counted from its shapes: operations, bytes and messages of the rank that has the most
// to do, beside the memory it holds at most. Pure arithmetic; what the counts cost in seconds is in cost_model.h. The
// formulas follow worker/quantize (block_pipeline, hessian, methods) and cluster/collective (peer_collective).
#pragma once

#include <cstdint>
#include <vector>

#include "schemas/job_spec.h"
#include "schemas/model_config.h"

namespace quench::coordinator {

// What ranks tell each other. A message is one exchange that the next one waits for.
struct Traffic {
  double messages = 0;
  double bytes = 0;  // that pass through one rank's link in one direction
  Traffic& operator+=(const Traffic& other);
};

// One Hessian and the linears that share it.
struct StageCounts {
  std::uint32_t stage = 0;
  double columns = 0;
  double hessian_flops = 0;  // 2 for each product of the lower triangle's panels and each own token
  double hessian_sums = 0;   // int64 elements that own leaves are added to
  double factor_flops = 0;   // every panel's own factorization, and the updates of this rank's panels
  double solve_flops = 0;    // feedback C² a row, and two quadratic forms of C² each for the losses
};

struct BlockCounts {
  double forward_flops = 0;  // 2 T N K of each linear, 4 T (length + 1) / 2 of each attention dimension
  std::vector<StageCounts> stages;
  double rounded_weights = 0;  // by methods without calibration
  double read_bytes = 0;       // of weights as stored
  double scratch_bytes = 0;    // hidden states kept at the block's end
  double chunk_bytes = 0;      // that all ranks hand to the store
  Traffic traffic;
  double memory_bytes = 0;
};

struct BlockQuestion {
  const ModelConfig& config;
  const QuantizeSpec& recipe;
  std::uint32_t sequences = 0;  // of calibration, shared out over the ranks
  std::uint32_t length = 0;
  std::uint32_t ranks = 1;
  double stored_bytes_per_weight = 2;
};
BlockCounts count_block(const BlockQuestion& question);

// Elements of the lower triangle in panels of 64 columns, whole diagonal tiles included.
double triangle_elements(double columns);
// The factorization of C columns on the rank, of `ranks`, that updates most.
double factor_flops(std::uint32_t columns, std::uint32_t ranks);
// cluster/collective's algorithms; nothing for one rank.
Traffic broadcast_traffic(double bytes, std::uint32_t ranks);
Traffic all_gather_traffic(double bytes_together, std::uint32_t ranks);  // a ring; reduce-scatter likewise

}  // namespace quench::coordinator
