// From manifests and verdicts to scores: pass@k with intervals, sizes, losses. Pure functions; comparison.h
// pairs what stands here and the report writers print it.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "coordinator/scoring/pass_at_k.h"
#include "schemas/artifact.h"
#include "schemas/job_spec.h"

namespace quench::coordinator {

// All verdicts of one (artifact, evaluation); missing ones are an error, never counted as failed.
struct ScoreInput {
  EvaluateSpec spec;
  Digest digest;     // evaluation_digest of its key
  Digest benchmark;  // of the problem file
  std::vector<std::string> task_ids;
  std::vector<Verdict> verdicts;
};

struct PassAtK {
  std::uint32_t k = 1;
  double value = 0;
  Interval interval;
};

// One task's completions by sample: did it pass?
struct TaskOutcomes {
  std::string task_id;
  std::vector<bool> passed;
};

struct EvaluationScore {
  EvaluateSpec spec;
  Digest digest;
  Digest benchmark;
  std::uint32_t tasks = 0;
  std::uint32_t samples = 0;  // of every task; the least of them where grade files have unequal numbers
  std::uint64_t completions = 0;
  std::uint64_t passed = 0;  // completions
  double pass_at_1 = 0;
  Interval interval;
  std::vector<PassAtK> pass_at;  // what was asked for beside k = 1, by rising k
  std::vector<TaskOutcomes> outcomes;
  std::vector<Verdict> verdicts;  // by (task, sample); empty for grade files
  // How the programs were kept apart, with the number of completions, as far as it is recorded.
  std::map<std::string, std::uint64_t> confinement;
  std::vector<PhaseUsage> usage;  // of every rank that generated and executed
};

struct ArtifactScore {
  std::string name;  // of the recipe, or the ref
  std::string model;
  QuantizeSpec recipe;
  Digest calibration;                // of the token windows; none when the method needs none
  CalibrationSpec calibration_spec;  // of its job
  Method method = Method::none;
  std::uint32_t bits = 0;  // baseline: of the stored type
  Digest digest;
  std::uint64_t bytes = 0;
  double bits_per_weight = 0;
  double seconds = 0;
  double mean_relative_loss = 0;  // over linears; 0 for the baseline
  std::vector<LinearLoss> losses;
  std::vector<PhaseUsage> usage;  // of every rank that quantized it
  std::vector<EvaluationScore> evaluations;
};

// `ks`: every k of pass@k to give beside pass@1; equal ones and 1 are given once. Throws Error(failed) naming
// the first (task, sample) without a verdict, Error(bad_input) for a k that is 0 or more than the samples.
EvaluationScore score(const ScoreInput& input, std::span<const std::uint32_t> ks = {});
// Fills counts, scores and intervals from `outcomes`. Throws Error(bad_input) as above.
void score_outcomes(EvaluationScore& score, std::span<const std::uint32_t> ks);

ArtifactScore describe_artifact(const std::string& name, const Digest& digest, const Manifest& manifest,
                                double seconds);

}  // namespace quench::coordinator
