#include "coordinator/report/csv.h"

#include <fmt/format.h>

#include <cmath>
#include <set>

#include "coordinator/report/escape.h"

namespace quench::coordinator {
namespace {

constexpr char kEndOfLine[] = "\r\n";

// Shortest digits that read back as the same number; nothing for what JSON would call null.
std::string number(double value) { return std::isfinite(value) ? fmt::format("{}", value) : std::string(); }
std::string number(const std::optional<double>& value) { return value ? number(*value) : std::string(); }

std::vector<std::string> comparison_cells(const Comparison* one) {
  if (one == nullptr) return std::vector<std::string>(17);
  const std::optional<Interval>& risk = one->risk.interval;
  return {csv_text(one->a),
          std::to_string(one->pairs.only_a),
          std::to_string(one->pairs.only_b),
          number(one->odds_ratio),
          number(one->odds_interval.low),
          number(one->odds_interval.high),
          number(one->pooled.p),
          number(one->pooled.benjamini_hochberg),
          number(one->pooled.holm),
          number(one->risk.difference),
          number(risk ? std::optional(risk->low) : std::nullopt),
          number(risk ? std::optional(risk->high) : std::nullopt),
          number(one->by_task.p),
          number(one->by_task.benjamini_hochberg),
          number(one->by_task.holm),
          number(one->detectable_pooled),
          number(one->detectable_by_task)};
}

constexpr const char* kComparisonColumns =
    "baseline,only_baseline,only_artifact,odds_ratio,odds_ratio_low,odds_ratio_high,p,p_adjusted,p_holm,"
    "risk_difference,risk_difference_low,risk_difference_high,p_by_task,p_by_task_adjusted,p_by_task_holm,"
    "detectable_difference,detectable_difference_by_task";

std::string joined(const std::vector<std::string>& cells) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) line += (i == 0 ? "" : ",") + cells[i];
  return line;
}

std::vector<std::string> energy_cells(const std::vector<PhaseUsage>& usage) {
  const PhaseTotals totals = total(usage);
  return {usage.empty() ? std::string() : number(totals.seconds),
          totals.energy ? number(totals.energy->joules) : std::string()};
}

}  // namespace

std::string report_to_csv(const JobReport& report) {
  std::set<std::uint32_t> ks;
  for (const ArtifactScore& artifact : report.artifacts)
    for (const EvaluationScore& score : artifact.evaluations)
      for (const PassAtK& one : score.pass_at) ks.insert(one.k);
  std::string text =
      "artifact,method,bits,digest,bytes,bits_per_weight,quantize_seconds,mean_relative_loss,benchmark,"
      "language,"
      "tasks,samples,passed,pass_at_1,ci_low,ci_high," +
      std::string(kComparisonColumns) +
      ",resident_weight_bytes,quantize_phase_seconds,quantize_joules,evaluate_seconds,evaluate_joules";
  for (const std::uint32_t k : ks) text += fmt::format(",pass_at_{0},pass_at_{0}_low,pass_at_{0}_high", k);
  text += kEndOfLine;
  for (const ArtifactScore& artifact : report.artifacts) {
    const std::vector<std::string> head = {
        csv_text(artifact.name),        std::string(to_string(artifact.method)),
        std::to_string(artifact.bits),  artifact.digest.hex(),
        std::to_string(artifact.bytes), number(artifact.bits_per_weight),
        number(artifact.seconds),       artifact.losses.empty() ? "" : number(artifact.mean_relative_loss)};
    const std::size_t lines = std::max<std::size_t>(1, artifact.evaluations.size());
    for (std::size_t i = 0; i < lines; ++i) {
      std::vector<std::string> cells = head;
      const EvaluationScore* score = i < artifact.evaluations.size() ? &artifact.evaluations[i] : nullptr;
      if (score != nullptr)
        cells.insert(cells.end(), {csv_text(score->spec.benchmark), csv_text(score->spec.language),
                                   std::to_string(score->tasks), std::to_string(score->samples),
                                   std::to_string(score->passed), number(score->pass_at_1),
                                   number(score->interval.low), number(score->interval.high)});
      else
        cells.resize(cells.size() + 8);
      const Comparison* comparison = nullptr;
      for (const Comparison& one : report.comparisons)
        if (score != nullptr && one.b == artifact.name && one.evaluation_b == i) comparison = &one;
      const std::vector<std::string> compared = comparison_cells(comparison);
      cells.insert(cells.end(), compared.begin(), compared.end());
      const std::uint64_t resident = score != nullptr ? total(score->usage).weight_bytes : 0;
      cells.push_back(resident == 0 ? "" : std::to_string(resident));
      for (const std::string& cell : energy_cells(artifact.usage)) cells.push_back(cell);
      for (const std::string& cell :
           energy_cells(score != nullptr ? score->usage : std::vector<PhaseUsage>{}))
        cells.push_back(cell);
      for (const std::uint32_t k : ks) {
        const PassAtK* found = nullptr;
        if (score != nullptr)
          for (const PassAtK& one : score->pass_at)
            if (one.k == k) found = &one;
        if (found != nullptr)
          cells.insert(cells.end(),
                       {number(found->value), number(found->interval.low), number(found->interval.high)});
        else
          cells.resize(cells.size() + 3);
      }
      text += joined(cells) + kEndOfLine;
    }
  }
  return text;
}

}  // namespace quench::coordinator
