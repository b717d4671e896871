// A model of any shape with seeded random weights, for measuring and for jobs on "synthetic:" models: nothing is kept,
// each read makes its bytes anew, the same wherever it runs.
#pragma once

#include <memory>

#include "worker/model/weights.h"

namespace quench::worker {

// Embedding and norms in bf16; linears and head packed with `bits` in groups, or, with 0 bits, in bf16 too.
std::unique_ptr<WeightSource> make_random_model(const ModelConfig& config, std::uint32_t bits, std::int32_t group_size,
                                                std::uint64_t seed = 0);
// Throws Error(bad_input) unless heads, kv heads, layers and sizes fit together; sets head_dim.
void check_shape(ModelConfig& config);

}  // namespace quench::worker
