// Models of random weights in known shapes, to rehearse and to measure jobs without a download: the "model" of a job
// may be "synthetic:codellama-34b", or a shape with some of its sizes and its seed given another value,
// "synthetic:codellama-34b,layers=2,seed=7". Weights follow from name, shape and seed alone, are made whenever they
// are read and lie on no disk. There is no tokenizer: such a job calibrates on random tokens and evaluates nothing.
// Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/digest.h"
#include "schemas/model_config.h"

namespace quench {

struct SyntheticModel {
  std::string name;         // canonical: "synthetic:" and only what differs from the shape, in a fixed order
  std::string config_json;  // what a model directory's config.json would say
  ModelConfig config;
  std::uint64_t seed = 0;
};

// Whether a job's "model" names a synthetic model rather than a directory.
bool is_synthetic(std::string_view model);
// Throws Error(bad_input) naming the text, what is wrong with it and what is known.
SyntheticModel parse_synthetic_model(std::string_view text);
// "codellama-7b", …
std::vector<std::string> synthetic_shapes();

// What stands for the digest of the model's files. Includes the version of the rule that makes the weights.
Digest synthetic_source_digest(const SyntheticModel& model);

}  // namespace quench
