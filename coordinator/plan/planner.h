// Before anything runs: what a job consists of. Reads config.json and the safetensors headers, never weights. Errors
// name the file and the tensor. What it will take is in cost_model.h.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "schemas/digest.h"
#include "schemas/job_spec.h"
#include "schemas/model_config.h"

namespace quench::coordinator {

struct ArtifactPlan {
  QuantizeSpec recipe;
  std::uint64_t artifact_bytes = 0;  // chunks of the finished artifact, before sharing
  double bits_per_weight = 0;        // of the blocks' linears
  std::uint64_t tiles = 0;           // row tiles = chunks of quantized linears
};

struct Plan {
  ModelConfig config;
  std::uint64_t linear_weights = 0;  // weights of the blocks' linears
  std::uint64_t linear_source_bytes = 0;  // the same as stored
  std::uint64_t outer_bytes = 0;     // embedding, head, norms, as stored
  std::uint64_t calibration_tokens = 0;
  std::vector<ArtifactPlan> artifacts;
  std::uint64_t store_bytes = 0;  // all artifacts of the job
};

// Throws Error(bad_input) for a model that does not hold what its config says.
Plan plan_job(const JobSpec& job);

// The model directory's digest: names, lengths and contents of config.json, the tokenizer's files
// and every weight file, in name order. What an artifact is derived from. Of a synthetic model: its definition's.
// `on_bytes` is told how many bytes were read since it was told last; what it throws ends the reading.
Digest model_source_digest(const std::string& model_dir, const std::function<void(std::uint64_t)>& on_bytes = {});

}  // namespace quench::coordinator
