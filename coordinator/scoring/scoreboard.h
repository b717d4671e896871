// From manifests and verdicts to what people read: scores with intervals, sizes, paired comparisons
// against the baseline. Pure functions; the report writers print what stands here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/scoring/paired_tests.h"
#include "coordinator/scoring/pass_at_k.h"
#include "schemas/artifact.h"
#include "schemas/job_spec.h"

namespace quench::coordinator {

// All verdicts of one (artifact, evaluation); missing ones are an error, never counted as failed.
struct ScoreInput {
  EvaluateSpec spec;
  Digest digest;  // evaluation_digest of its key
  std::vector<std::string> task_ids;
  std::vector<Verdict> verdicts;
};

struct EvaluationScore {
  EvaluateSpec spec;
  Digest digest;
  std::uint32_t tasks = 0;
  std::uint32_t samples = 0;
  std::uint64_t passed = 0;  // completions
  double pass_at_1 = 0;
  Interval interval;
  // By (task, sample), task-major: for pairing.
  std::vector<bool> outcomes;
};

struct ArtifactScore {
  std::string name;  // of the recipe
  Method method = Method::none;
  std::uint32_t bits = 0;  // baseline: of the stored type
  Digest digest;
  std::uint64_t bytes = 0;
  double bits_per_weight = 0;
  double seconds = 0;
  double mean_relative_loss = 0;  // over linears; 0 for the baseline
  std::vector<LinearLoss> losses;
  std::vector<EvaluationScore> evaluations;
};

struct Comparison {
  std::string a, b;  // artifact names; a is the baseline
  std::string benchmark;
  Discordance pairs;
  double odds_ratio = 1;
  double p = 1;
  double p_adjusted = 1;  // within the comparisons of one benchmark
};

struct JobReport {
  std::string job_name;
  Digest job_id;
  std::string model;
  std::uint32_t ranks = 0;
  double seconds = 0;  // of this run
  std::vector<ArtifactScore> artifacts;
  std::vector<Comparison> comparisons;
};

// Throws Error(failed) naming the first (task, sample) without a verdict.
EvaluationScore score(const ScoreInput& input);
ArtifactScore describe_artifact(const std::string& name, const Digest& digest, const Manifest& manifest,
                                double seconds);
// Every artifact against the first one of method none (or the first at all), per evaluation.
std::vector<Comparison> compare_all(const std::vector<ArtifactScore>& artifacts);

}  // namespace quench::coordinator
