// The verbs a `quench` command runs in a child: those that need the engine but no gang. Each returns
// the process's exit code and writes its result on stdout.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cluster/collective/collective.h"
#include "schemas/job_spec.h"
#include "schemas/model_config.h"

namespace quench::worker {

// How a child computes.
struct ComputeOptions {
  int threads = 1;
  std::string backend;  // empty: the best that runs here
  Arithmetic arithmetic = Arithmetic::fp32;  // of models that a verb runs
};

// A model by directory, or by ref at the store's owner.
struct ModelChoice {
  std::filesystem::path directory;  // empty: `ref`
  std::string ref;
  std::string coordinator;  // "unix:///…/quench.sock", for refs
};

struct GenerateArguments {
  ModelChoice model;
  std::string prompt;
  std::uint32_t max_tokens = 128;
  double temperature = 0;
  double top_p = 1;
  std::uint32_t top_k = 0;
  std::uint64_t seed = 0;
  bool json = false;
};
int generate(const ComputeOptions& compute, const GenerateArguments& arguments);

struct PerplexityArguments {
  ModelChoice model;
  std::filesystem::path text;
  std::uint32_t context = 0;  // tokens per window; 0: the model's max positions, at most 2048
  bool json = false;
};
int perplexity(const ComputeOptions& compute, const PerplexityArguments& arguments);

struct GradeArguments {
  std::string benchmark;
  std::string language = "python";
  std::optional<std::filesystem::path> problems;
  std::filesystem::path completions;
  std::filesystem::path out;
  std::filesystem::path settings;  // a job file whose one evaluation the completions come from; empty: none
  bool allow_landlock = false;
  bool json = false;
};
int grade(const ComputeOptions& compute, const GradeArguments& arguments);

struct BenchSandboxArguments {
  int sandboxes = 0;  // at the same time; 0: as many as threads
  std::uint32_t rounds = 5;
  bool allow_landlock = false;
  bool json = false;
};
int bench_sandbox(const ComputeOptions& compute, const BenchSandboxArguments& arguments);

struct BenchLayerArguments {
  std::filesystem::path input;  // safetensors with W [N, K] and X [T, K], fp32
  QuantizeSpec recipe;
  std::optional<std::filesystem::path> out;
  bool json = false;
};
int bench_layer(const ComputeOptions& compute, const BenchLayerArguments& arguments);

struct BenchDecodeArguments {
  ModelConfig config;  // the shape; 0.79 G parameters by default
  std::uint32_t bits = 4;
  std::int32_t group_size = 128;
  std::vector<std::uint32_t> batches = {1, 8, 32};
  std::uint32_t tokens = 32;  // new tokens of each sequence
  bool json = false;
};
int bench_decode(const ComputeOptions& compute, const BenchDecodeArguments& arguments);

struct BenchBlockArguments {
  ModelConfig config;  // the shape of the block; CodeLlama 34B's by default
  QuantizeSpec recipe;
  std::uint32_t sequences = 16;
  std::uint32_t length = 2048;
  bool json = false;
};
// Every rank of `gang` calls this; rank 0 prints.
int bench_block(const ComputeOptions& compute, const BenchBlockArguments& arguments, cluster::Collective& gang);

// A calibration set as files in `out`, which is there and empty.
struct BuildCalibrationArguments {
  CalibrationKind kind = CalibrationKind::random;
  std::vector<std::string> from;
  std::filesystem::path tokenizer;  // a model's directory
  std::uint32_t sequences = 1024;
  std::uint32_t length = 4096;
  std::uint64_t seed = 0;
  std::uint32_t files_per_repository = 1;
  std::int32_t score_min = 10;
  std::filesystem::path out;
};
int build_calibration_set(const BuildCalibrationArguments& arguments);

}  // namespace quench::worker
