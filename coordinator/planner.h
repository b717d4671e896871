// Before anything runs: what a job consists of, and what it will take. Reads config.json and the
// safetensors headers, never weights. Errors name the file and the tensor.
#pragma once

#include <cstdint>
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
  std::uint64_t outer_bytes = 0;     // embedding, head, norms, as stored
  std::uint64_t calibration_tokens = 0;
  std::vector<ArtifactPlan> artifacts;
  // The largest per rank while quantizing: one block in fp32, its widest Hessian (this rank's share
  // as int64, then the whole factor in fp32), this rank's hidden states twice.
  std::uint64_t memory_bytes_per_rank = 0;
  // Received per rank over MPI for one calibrated artifact: the block's weights, Hessian sums,
  // factor panels and codes.
  std::uint64_t mpi_bytes_per_rank = 0;
  std::uint64_t store_bytes = 0;  // all artifacts of the job
};

// Throws Error(bad_input) for a model that does not hold what its config says.
Plan plan_job(const JobSpec& job);
std::string plan_to_json(const JobSpec& job, const Plan& plan);
std::string plan_to_text(const JobSpec& job, const Plan& plan);

// The model directory's digest: names, lengths and contents of config.json, the tokenizer's files
// and every weight file, in name order. What an artifact is derived from.
Digest model_source_digest(const std::string& model_dir);

}  // namespace quench::coordinator
