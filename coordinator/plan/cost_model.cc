#include "coordinator/plan/cost_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "schemas/error.h"
#include "schemas/synthetic_model.h"

namespace quench::coordinator {
namespace {

constexpr std::uint32_t kLeaseItems = 32;  // completions that are decoded side by side (worker/evaluate/evaluation.h)

constexpr char kKeepStates[] = "keep states";

std::uint32_t hosts_for(std::uint32_t ranks, const MachineProfile& profile) {
  return (ranks + profile.ranks - 1) / profile.ranks;
}

std::optional<double> traffic_seconds(const Traffic& traffic, const MachineProfile& profile, std::uint32_t ranks) {
  if (ranks == 1) return 0.0;
  const bool inside = hosts_for(ranks, profile) == 1;
  const std::optional<double>& message_s = inside ? profile.message_s : profile.between_hosts_message_s;
  const std::optional<double>& bytes_per_s = inside ? profile.link_bytes_per_s : profile.between_hosts_bytes_per_s;
  if (!message_s || !bytes_per_s) return std::nullopt;
  return traffic.messages * *message_s + traffic.bytes / *bytes_per_s;
}

double sum_of(const std::vector<StepTime>& steps) {
  return std::accumulate(steps.begin(), steps.end(), 0.0,
                         [](double sum, const StepTime& step) { return sum + step.seconds; });
}

void add_step(std::vector<StepTime>& steps, const std::string& name, double seconds) {
  const auto found =
      std::find_if(steps.begin(), steps.end(), [&](const StepTime& step) { return step.step == name; });
  if (found == steps.end())
    steps.push_back({name, seconds});
  else
    found->seconds += seconds;
}

// The steps of one block, for the rank with the most to do; "communicate" is missing where no rate is known.
std::vector<StepTime> block_steps(const BlockCounts& counts, const MachineProfile& profile, const ArithmeticRates& rates,
                                  std::uint32_t ranks, std::uint32_t hidden_size, bool is_synthetic) {
  std::vector<StepTime> steps;
  const double source = is_synthetic ? profile.make_bytes_per_s : profile.read_bytes_per_s;
  // Every rank lays out the whole block.
  const double laid_out = counts.stages.empty() ? 0 : counts.read_bytes * ranks / profile.layout_bytes_per_s;
  steps.push_back({"read", counts.read_bytes / source + laid_out});
  if (counts.forward_flops > 0)
    steps.push_back({"forward", counts.forward_flops / rates.forward_flops.at(hidden_size)});
  for (const StageCounts& stage : counts.stages) {
    add_step(steps, "hessian", stage.hessian_flops / rates.hessian_flops.at(stage.columns) +
                                   stage.hessian_sums / rates.hessian_sums.at(stage.columns));
    add_step(steps, "factor", stage.factor_flops / profile.factor_flops.at(stage.columns));
    add_step(steps, "solve", stage.solve_flops / rates.solve_flops.at(stage.columns));
  }
  if (counts.rounded_weights > 0) steps.push_back({"round", counts.rounded_weights / profile.round_weights_per_s});
  if (const std::optional<double> seconds = traffic_seconds(counts.traffic, profile, ranks); seconds && ranks > 1)
    steps.push_back({"communicate", *seconds});
  if (counts.scratch_bytes > 0) {
    double seconds = counts.scratch_bytes / profile.scratch_bytes_per_s;
    // Where a device computes, the host writes them while the next block is under way (worker/quantize/quantizer.cc).
    if (profile.backend.starts_with("cuda"))
      for (const StepTime& step : steps) seconds -= step.seconds;
    steps.push_back({kKeepStates, std::max(seconds, 0.0)});
  }
  if (profile.store_bytes_per_s) steps.push_back({"store", counts.chunk_bytes / *profile.store_bytes_per_s});
  return steps;
}

class Predictor {
 public:
  Predictor(const JobSpec& job, const Plan& plan, const MachineProfile& profile,
            const std::vector<EvaluationSize>& sizes)
      : job_(job), plan_(plan), profile_(profile), sizes_(sizes) {}

  Prediction run() {
    result_.ranks = job_.ranks;
    result_.hosts = hosts_for(job_.ranks, profile_);
    if (!profile_.is_measured) note("every time is predicted from published figures, none was measured");
    if (profile_.start_s)
      result_.start_s = *profile_.start_s;
    else
      note("starting the gang is not predicted: the profile has no \"start_s\"");
    for (const ArtifactPlan& artifact : plan_.artifacts) predict_artifact(artifact);
    if (sizes_.empty() && !job_.evaluate.empty()) note("evaluations are not predicted");
    for (std::size_t i = 0; i < sizes_.size(); ++i)
      for (const ArtifactPlan& artifact : plan_.artifacts) predict_evaluation(artifact, i);
    result_.seconds = result_.start_s + result_.quantize_s;
    for (const EvaluationPrediction& evaluation : result_.evaluations)
      result_.seconds += evaluation.seconds.value_or(evaluation.seconds_max);
    result_.rank_hours = result_.seconds * job_.ranks / 3600;
    predict_energy();
    return std::move(result_);
  }

 private:
  void note(const std::string& text) {
    if (std::find(result_.notes.begin(), result_.notes.end(), text) == result_.notes.end())
      result_.notes.push_back(text);
  }

  const ArithmeticRates& rates_of(Arithmetic arithmetic) {
    if (arithmetic == Arithmetic::fp32) return profile_.fp32;
    if (!profile_.bf16) note("products of bf16 are priced as fp32's: the profile has no rates of theirs (\"bf16\")");
    return profile_.bf16 ? *profile_.bf16 : profile_.fp32;
  }

  double source_bytes_per_s() const {
    return is_synthetic(job_.model) ? profile_.make_bytes_per_s : profile_.read_bytes_per_s;
  }

  void predict_artifact(const ArtifactPlan& artifact) {
    const QuantizeSpec& recipe = artifact.recipe;
    const double per_weight = static_cast<double>(plan_.linear_source_bytes) / static_cast<double>(plan_.linear_weights);
    const BlockCounts counts = count_block(
        {plan_.config, recipe, job_.calibration.sequences, job_.calibration.length, job_.ranks, per_weight});
    ArtifactPrediction predicted;
    predicted.name = recipe.name;
    if (recipe.budget_gib > 0)
      note("the pass that chooses bits for a budget is not predicted; the rest is counted at 4 bits");
    if (recipe.method == Method::aqlm) note("what aqlm's search for codes takes is not predicted");
    if (recipe.method == Method::awq) note("what awq's search for scales and clipping takes is not predicted");
    const double blocks = plan_.config.layers;
    for (const StepTime& step :
         block_steps(counts, profile_, rates_of(recipe.arithmetic), job_.ranks, plan_.config.hidden_size, is_synthetic(job_.model)))
      // After the last block no states are kept.
      add_step(predicted.steps, step.step, (step.step == kKeepStates ? blocks - 1 : blocks) * step.seconds);
    if (!traffic_seconds(counts.traffic, profile_, job_.ranks))
      note(fmt::format("communication between {} hosts is not predicted: give the profile \"between_hosts_message_s\" "
                       "and \"between_hosts_bytes_per_s\"", result_.hosts));
    const auto outer = static_cast<double>(plan_.outer_bytes);
    add_step(predicted.steps, "read", outer / job_.ranks / source_bytes_per_s());
    if (profile_.store_bytes_per_s && profile_.commit_s)
      // Embedding and head, then block by block, then the name.
      add_step(predicted.steps, "store", outer / *profile_.store_bytes_per_s + (blocks + 2) * *profile_.commit_s);
    else
      note("storing is not predicted: the profile has no \"store_bytes_per_s\" or \"commit_s\"");
    predicted.seconds = sum_of(predicted.steps);
    predicted.memory_bytes = counts.memory_bytes;
    predicted.traffic_bytes = blocks * counts.traffic.bytes;
    result_.memory_bytes = std::max(result_.memory_bytes, predicted.memory_bytes);
    result_.quantize_s += predicted.seconds;
    result_.artifacts.push_back(std::move(predicted));
  }

  void predict_evaluation(const ArtifactPlan& artifact, std::size_t which) {
    const EvaluationSize& size = sizes_[which];
    EvaluationPrediction predicted;
    predicted.artifact = artifact.recipe.name;
    predicted.evaluation = job_.evaluate[which].benchmark + " " + job_.evaluate[which].language;
    const std::uint32_t bits = artifact.recipe.method == Method::none ? 16 : artifact.recipe.bits;
    const ArithmeticRates& rates = rates_of(job_.evaluate[which].arithmetic);
    const auto rate = std::find_if(rates.decode.begin(), rates.decode.end(),
                                   [&](const DecodeRate& one) { return one.bits == bits; });
    if (rate == rates.decode.end()) return note(fmt::format("decoding at {} bits is not predicted", bits));
    const double hidden = plan_.config.hidden_size;
    const double weights = static_cast<double>(plan_.linear_weights) + double{1} * plan_.config.vocab_size * hidden;
    // The worker with the most leases; a lease is not shared.
    const double leases = std::ceil(static_cast<double>(size.completions) / kLeaseItems);
    const double share = leases > 0 ? std::ceil(leases / job_.ranks) / leases : 0;
    double fixed = share * static_cast<double>(size.prompt_tokens) * 2 * static_cast<double>(plan_.linear_weights) /
                   rates.forward_flops.at(hidden);
    if (profile_.store_bytes_per_s) fixed += static_cast<double>(artifact.artifact_bytes) / *profile_.store_bytes_per_s;
    if (profile_.programs_per_s)
      fixed += share * static_cast<double>(size.completions) / *profile_.programs_per_s;
    else
      note("executing programs is not predicted: the profile has no \"programs_per_s\"");
    const auto decoding = [&](double steps, double tokens) {
      return share * weights * (steps * rate->base_s.at(hidden) + tokens * rate->row_s.at(hidden));
    };
    if (size.steps && size.answer_tokens)
      predicted.seconds =
          fixed + decoding(static_cast<double>(*size.steps), static_cast<double>(*size.answer_tokens));
    predicted.seconds_max =
        fixed + decoding(static_cast<double>(size.steps_max), static_cast<double>(size.answer_tokens_max));
    note(predicted.seconds ? "answers are taken to be as long as the benchmark's own solutions"
                           : "a benchmark without solutions: its answers are taken to be as long as their budget");
    result_.evaluations.push_back(std::move(predicted));
  }

  void predict_energy() {
    if (!profile_.watts) {
      result_.energy_note = "not predicted: no energy counter on the profiled machine" +
                            (profile_.watts_note.empty() ? "" : " (" + profile_.watts_note + ")");
      return;
    }
    // A host that is not full costs its share.
    const double hosts = std::max(1.0, static_cast<double>(job_.ranks) / profile_.ranks);
    const double share = profile_.is_measured ? hosts : static_cast<double>(job_.ranks) / profile_.ranks;
    result_.joules = *profile_.watts * share * result_.seconds;
    result_.energy_note = profile_.watts_note;
  }

  const JobSpec& job_;
  const Plan& plan_;
  const MachineProfile& profile_;
  const std::vector<EvaluationSize>& sizes_;
  Prediction result_;
};

}  // namespace

std::vector<EvaluationSize> parse_evaluation_sizes(const std::string& json) {
  try {
    std::vector<EvaluationSize> sizes;
    for (const auto& one : nlohmann::json::parse(json)) {
      EvaluationSize& size = sizes.emplace_back();
      size.completions = one.at("completions");
      size.prompt_tokens = one.at("prompt_tokens");
      size.answer_tokens_max = one.at("answer_tokens_max");
      size.steps_max = one.at("steps_max");
      if (one.at("steps").is_null()) continue;
      size.answer_tokens = one.at("answer_tokens").get<std::uint64_t>();
      size.steps = one.at("steps").get<std::uint64_t>();
    }
    return sizes;
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::internal, std::string("the engine's sizes of evaluations: ") + error.what());
  }
}

Prediction predict(const JobSpec& job, const Plan& plan, const MachineProfile& profile,
                   const std::vector<EvaluationSize>& sizes) {
  return Predictor(job, plan, profile, sizes).run();
}

}  // namespace quench::coordinator
