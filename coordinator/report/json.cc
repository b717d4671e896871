#include "coordinator/report/json.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "coordinator/report/study.h"

namespace quench::coordinator {
namespace {

using nlohmann::ordered_json;

// JSON has no infinity; an odds ratio without a bound is null.
ordered_json number(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr);
}

ordered_json number(const std::optional<double>& value) {
  return value ? number(*value) : ordered_json(nullptr);
}

ordered_json evaluation_json(const EvaluationScore& score) {
  ordered_json pass_at = ordered_json::array();
  pass_at.push_back({{"k", 1},
                     {"value", score.pass_at_1},
                     {"ci_low", score.interval.low},
                     {"ci_high", score.interval.high}});
  for (const PassAtK& one : score.pass_at)
    pass_at.push_back(
        {{"k", one.k}, {"value", one.value}, {"ci_low", one.interval.low}, {"ci_high", one.interval.high}});
  return {{"benchmark", score.spec.benchmark},
          {"language", score.spec.language},
          {"tasks", score.tasks},
          {"samples", score.samples},
          {"passed", score.passed},
          {"completions", score.completions},
          {"pass_at_1", score.pass_at_1},
          {"ci_low", score.interval.low},
          {"ci_high", score.interval.high},
          {"pass_at", std::move(pass_at)},
          {"digest", score.digest.hex()}};
}

ordered_json comparisons_json(const std::vector<Comparison>& comparisons) {
  ordered_json all = ordered_json::array();
  for (const Comparison& comparison : comparisons) {
    const std::optional<Interval>& risk = comparison.risk.interval;
    ordered_json one = {
        {"a", comparison.a},
        {"b", comparison.b},
        {"benchmark", comparison.benchmark},
        {"language", comparison.language},
        {"family", comparison.family},
        {"tasks", comparison.tasks},
        {"pairs", comparison.pairs_in_all},
        {"only_a", comparison.pairs.only_a},
        {"only_b", comparison.pairs.only_b},
        {"odds_ratio", number(comparison.odds_ratio)},
        {"odds_ratio_low", number(comparison.odds_interval.low)},
        {"odds_ratio_high", number(comparison.odds_interval.high)},
        {"p", comparison.pooled.p},
        {"p_adjusted", comparison.pooled.benjamini_hochberg},
        {"p_holm", comparison.pooled.holm},
        {"risk_difference", comparison.risk.difference},
        {"risk_difference_low", number(risk ? std::optional(risk->low) : std::nullopt)},
        {"risk_difference_high", number(risk ? std::optional(risk->high) : std::nullopt)},
        {"p_by_task", comparison.by_task.p},
        {"p_by_task_adjusted", comparison.by_task.benjamini_hochberg},
        {"p_by_task_holm", comparison.by_task.holm},
        {"discordant_tasks", comparison.clustered.discordant_tasks},
        {"permutation_draws", comparison.clustered.draws},
        {"detectable_difference", number(comparison.detectable_pooled)},
        {"detectable_difference_by_task", number(comparison.detectable_by_task)},
    };
    one["warnings"] = comparison.warnings;
    all.push_back(std::move(one));
  }
  return all;
}

// What is not measured is null, with the reason.
ordered_json usage_json(const std::vector<PhaseUsage>& usage, const CarbonFactor& carbon) {
  const PhaseTotals totals = total(usage);
  const auto bytes = [](std::uint64_t count) {
    return count == 0 ? ordered_json(nullptr) : ordered_json(count);
  };
  ordered_json out = {{"seconds", usage.empty() ? ordered_json(nullptr) : ordered_json(totals.seconds)},
                      {"weights_resident_bytes", bytes(totals.weight_bytes)},
                      {"load_growth_bytes", bytes(totals.load_growth_bytes)},
                      {"peak_resident_bytes", bytes(totals.resident_peak_bytes)},
                      {"joules", nullptr},
                      {"idle_joules", nullptr},
                      {"co2e_g", nullptr},
                      {"counters", ordered_json::array()}};
  if (totals.energy) {
    out["joules"] = totals.energy->joules;
    out["idle_joules"] = number(totals.energy->idle_joules);
    out["co2e_g"] = carbon_grams(totals.energy->joules, carbon);
    out["counters"] = totals.energy->counters;
  }
  out["not_measured"] = totals.energy_note;
  return out;
}

ordered_json artifact_json(const ArtifactScore& artifact, const CarbonFactor& carbon) {
  ordered_json one = {
      {"name", artifact.name},
      {"method", to_string(artifact.method)},
      {"bits", artifact.bits},
      {"activations", to_string(artifact.recipe.activations)},
      {"arithmetic", to_string(artifact.recipe.arithmetic)},
      {"digest", artifact.digest.hex()},
      {"bytes", artifact.bytes},
      {"bits_per_weight", artifact.bits_per_weight},
      {"seconds", artifact.seconds},
      {"mean_relative_loss", artifact.mean_relative_loss},
      {"model", artifact.model},
      {"calibration",
       artifact.calibration.is_none() ? ordered_json(nullptr) : ordered_json(artifact.calibration.hex())},
      {"quantize_usage", usage_json(artifact.usage, carbon)},
      {"evaluations", ordered_json::array()}};
  for (const EvaluationScore& score : artifact.evaluations) {
    ordered_json evaluation = evaluation_json(score);
    evaluation["usage"] = usage_json(score.usage, carbon);
    one["evaluations"].push_back(std::move(evaluation));
  }
  return one;
}

ordered_json table_json(const Table& table) {
  ordered_json out = {{"title", table.title},
                      {"columns", ordered_json::array()},
                      {"rows", table.rows},
                      {"notes", table.notes}};
  for (const Column& column : table.columns) out["columns"].push_back(column.title);
  return out;
}

}  // namespace

std::string report_to_json(const JobReport& report) {
  ordered_json out;
  out["job"] = {{"name", report.job_name},
                {"id", report.job_id.hex()},
                {"model", report.model},
                {"ranks", report.ranks},
                {"distinct_bytes", report.distinct_bytes},
                {"co2e_g_per_kwh", report.carbon.grams_per_kwh},
                {"co2e_source", report.carbon.source}};
  out["artifacts"] = ordered_json::array();
  for (const ArtifactScore& artifact : report.artifacts)
    out["artifacts"].push_back(artifact_json(artifact, report.carbon));
  out["comparisons"] = comparisons_json(report.comparisons);
  if (report.protocol == kStudyProtocol) {
    out["protocol"] = report.protocol;
    for (const Table& table : study_tables(report)) out["protocol_tables"].push_back(table_json(table));
  }
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace);
}

std::string comparisons_to_json(const std::vector<Comparison>& comparisons) {
  return ordered_json{{"comparisons", comparisons_json(comparisons)}}.dump(
      2, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace quench::coordinator
