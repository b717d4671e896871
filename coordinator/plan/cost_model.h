// What a job will take on a machine: the counts of work_counts.h divided by the rates of a machine profile. A pure
// function. What no rate is known for is named and left out, never made up.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/plan/planner.h"
#include "coordinator/plan/work_counts.h"
#include "schemas/machine_profile.h"

namespace quench::coordinator {

// Of one evaluation of one artifact (worker/evaluation_size.h).
struct EvaluationSize {
  std::uint64_t completions = 0, prompt_tokens = 0;
  // As long as the benchmark's own solutions are; nothing where it has none. And at most.
  std::optional<std::uint64_t> answer_tokens, steps;
  std::uint64_t answer_tokens_max = 0, steps_max = 0;
};
// Throws Error(internal) for anything but what the worker prints.
std::vector<EvaluationSize> parse_evaluation_sizes(const std::string& json);

struct StepTime {
  std::string step;
  double seconds = 0;
};

struct ArtifactPrediction {
  std::string name;
  std::vector<StepTime> steps;
  double seconds = 0;
  double memory_bytes = 0;   // of a rank at most, while quantizing
  double traffic_bytes = 0;  // through one rank's link in one direction
};

struct EvaluationPrediction {
  std::string artifact, evaluation;
  std::optional<double> seconds;  // answers as long as the benchmark's solutions
  double seconds_max = 0;         // every answer as long as its budget
};

struct Prediction {
  std::uint32_t ranks = 1, hosts = 1;
  std::vector<ArtifactPrediction> artifacts;
  std::vector<EvaluationPrediction> evaluations;
  double start_s = 0;
  double quantize_s = 0, seconds = 0;  // evaluations of unknown length as long as their budget
  double memory_bytes = 0;
  double rank_hours = 0;  // GPU-hours, where a rank is a GPU
  std::optional<double> joules;
  std::string energy_note;
  std::vector<std::string> notes;  // what is missing, and what was assumed
};

// `sizes` has one for each evaluation of the job, or is empty: evaluations are not predicted then.
Prediction predict(const JobSpec& job, const Plan& plan, const MachineProfile& profile,
                   const std::vector<EvaluationSize>& sizes);

}  // namespace quench::coordinator
