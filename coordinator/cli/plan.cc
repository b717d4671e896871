// `quench plan`: what a job consists of and will take, before any node is asked for.
#include <algorithm>
#include <iostream>

#include "coordinator/calibration_sets.h"
#include "coordinator/cli/commands.h"
#include "coordinator/plan/cost_model.h"
#include "coordinator/plan/plan_report.h"
#include "coordinator/plan/planner.h"
#include "schemas/codec.h"
#include "schemas/endpoint_url.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

// A block of this width or less is measured as it is, within seconds; rates of wider ones come from three smaller blocks.
constexpr std::uint32_t kMeasuredHiddenMax = 2048, kMeasuredIntermediateMax = 8192;
constexpr std::uint32_t kLeafTokens = 512;

MachineProfile measured_for(const PlanArguments& arguments, const JobSpec& job, const ModelConfig& config) {
  MeasureArguments measure;
  measure.ranks = job.ranks;
  measure.threads = threads_per_rank(job, arguments.threads);
  measure.length = std::min(job.calibration.length, kLeafTokens);
  measure.evaluation = !job.evaluate.empty();
  const auto in_bf16 = [](const auto& spec) { return spec.arithmetic == Arithmetic::bf16; };
  measure.bf16 = std::any_of(job.quantize.begin(), job.quantize.end(), in_bf16) || std::any_of(job.evaluate.begin(), job.evaluate.end(), in_bf16);
  measure.store = arguments.store;
  if (config.hidden_size <= kMeasuredHiddenMax && config.intermediate_size <= kMeasuredIntermediateMax &&
      std::uint64_t{config.heads} * config.head_dim == config.hidden_size)
    measure.shapes = {std::to_string(config.hidden_size) + ":" + std::to_string(config.intermediate_size) + ":" +
                      std::to_string(config.heads) + ":" + std::to_string(config.kv_heads) + ":" +
                      std::to_string(config.vocab_size)};
  std::cerr << "measuring this machine, " << measure.ranks << " ranks of " << measure.threads
            << " threads (--machine FILE takes a saved profile, --sizes measures nothing)\n";
  return measure_machine(measure);
}

MachineProfile machine_for(const PlanArguments& arguments, const JobSpec& job, const ModelConfig& config) {
  if (arguments.machine.empty()) return measured_for(arguments, job, config);
  if (fs::exists(arguments.machine)) return read_profile(arguments.machine);
  return in_context("--machine " + arguments.machine + ": no such file", [&] { return published_profile(arguments.machine); });
}

// The artifact that takes most memory: the one with a calibrated method, if there is any.
BlockCounts largest_block(const JobSpec& job, const Plan& plan) {
  BlockCounts largest;
  for (const ArtifactPlan& artifact : plan.artifacts) {
    const BlockCounts counts = count_block(
        {plan.config, artifact.recipe, job.calibration.sequences, job.calibration.length, job.ranks,
         static_cast<double>(plan.linear_source_bytes) / static_cast<double>(plan.linear_weights)});
    if (counts.memory_bytes > largest.memory_bytes) largest = counts;
  }
  return largest;
}

}  // namespace

int show_plan(const PlanArguments& arguments) {
  JobSpec job = read_job_for(arguments.job, arguments.ranks);
  if (is_endpoint(job.model))
    throw Error(ErrorCode::bad_input, "the model of this job is served at " + job.model +
                                          ": there are no weights to plan for, `quench run` evaluates it");
  if (job.calibration.is_set())
    job = with_calibration_set(ArtifactStore::open(store_directory(arguments.store), OpenMode::existing), job);
  const Plan plan = plan_job(job);
  if (arguments.sizes) {
    const BlockCounts largest = largest_block(job, plan);
    std::cout << (arguments.json ? plan_to_json : plan_to_text)(job, plan, largest, nullptr, nullptr);
    return 0;
  }
  const MachineProfile profile = machine_for(arguments, job, plan.config);
  std::vector<EvaluationSize> sizes;
  if (!job.evaluate.empty())
    sizes = parse_evaluation_sizes(engine_output({"evaluation-size", fs::absolute(arguments.job).string()}));
  if (arguments.table) {
    std::vector<Prediction> rows;
    for (job.ranks = 1; job.ranks <= 64; job.ranks *= 2) rows.push_back(predict(job, plan, profile, sizes));
    std::cout << (arguments.json ? scaling_to_json : scaling_to_text)(job, rows, profile);
    return 0;
  }
  const Prediction prediction = predict(job, plan, profile, sizes);
  std::cout << (arguments.json ? plan_to_json : plan_to_text)(job, plan, largest_block(job, plan), &prediction, &profile);
  return 0;
}

}  // namespace quench::coordinator
