#include "coordinator/report/json.h"

#include <cmath>
#include <nlohmann/json.hpp>


namespace quench::coordinator {
namespace {

using nlohmann::ordered_json;

// JSON has no infinity; an odds ratio without a bound is null.
ordered_json number(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr);
}

ordered_json evaluation_json(const EvaluationScore& score) {
  return {
      {"benchmark", score.spec.benchmark}, {"language", score.spec.language}, {"tasks", score.tasks},
      {"samples", score.samples},          {"passed", score.passed},          {"pass_at_1", score.pass_at_1},
      {"ci_low", score.interval.low},      {"ci_high", score.interval.high},  {"digest", score.digest.hex()}};
}

ordered_json comparisons_json(const std::vector<Comparison>& comparisons) {
  ordered_json all = ordered_json::array();
  for (const Comparison& comparison : comparisons)
    all.push_back({{"a", comparison.a},
                   {"b", comparison.b},
                   {"benchmark", comparison.benchmark},
                   {"only_a", comparison.pairs.only_a},
                   {"only_b", comparison.pairs.only_b},
                   {"odds_ratio", number(comparison.odds_ratio)},
                   {"p", comparison.p},
                   {"p_adjusted", comparison.p_adjusted}});
  return all;
}

}  // namespace

std::string report_to_json(const JobReport& report) {
  ordered_json out;
  out["job"] = {{"name", report.job_name},
                {"id", report.job_id.hex()},
                {"model", report.model},
                {"ranks", report.ranks}};
  out["artifacts"] = ordered_json::array();
  for (const ArtifactScore& artifact : report.artifacts) {
    ordered_json one = {{"name", artifact.name},
                        {"method", to_string(artifact.method)},
                        {"bits", artifact.bits},
                        {"digest", artifact.digest.hex()},
                        {"bytes", artifact.bytes},
                        {"bits_per_weight", artifact.bits_per_weight},
                        {"seconds", artifact.seconds},
                        {"mean_relative_loss", artifact.mean_relative_loss},
                        {"evaluations", ordered_json::array()}};
    for (const EvaluationScore& score : artifact.evaluations)
      one["evaluations"].push_back(evaluation_json(score));
    out["artifacts"].push_back(std::move(one));
  }
  out["comparisons"] = comparisons_json(report.comparisons);
  return out.dump(2);
}

std::string comparisons_to_json(const std::vector<Comparison>& comparisons) {
  return ordered_json{{"comparisons", comparisons_json(comparisons)}}.dump(2);
}

}  // namespace quench::coordinator
