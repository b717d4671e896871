#include "coordinator/report/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "coordinator/report/words.h"

namespace quench::coordinator {
namespace {

// name, MB, bits per weight, loss, seconds: what an artifact has without an evaluation.
constexpr std::size_t kColumnsOfSize = 5;

// Pads cells to their column's width; the first column is flush left, numbers flush right.
std::string layout(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::string line;
    for (std::size_t i = 0; i < rows[r].size(); ++i)
      line += i == 0 ? fmt::format("  {:<{}}", rows[r][i], widths[i])
                     : fmt::format("  {:>{}}", rows[r][i], widths[i]);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    if (r == 0) text += "  " + std::string(line.size() - 2, '-') + "\n";
  }
  return text;
}

const Comparison* comparison_of(const JobReport& report, const ArtifactScore& artifact,
                                const EvaluationScore& evaluation) {
  for (const Comparison& comparison : report.comparisons)
    if (comparison.b == artifact.name && comparison.benchmark == evaluation.spec.benchmark)
      return &comparison;
  return nullptr;
}

}  // namespace

std::string report_to_table(const JobReport& report) {
  std::vector<std::vector<std::string>> rows;
  rows.push_back({"artifact", "MB", "bits/weight", "loss", "seconds", "benchmark", "passed", "pass@1 %",
                  "95 % interval", "lost/won", "odds", "p adj."});
  for (const ArtifactScore& artifact : report.artifacts) {
    std::vector<std::string> head = {
        artifact.name, megabytes(artifact.bytes), fmt::format("{:.2f}", artifact.bits_per_weight),
        artifact.method == Method::none ? "" : fmt::format("{:.2e}", artifact.mean_relative_loss),
        fmt::format("{:.1f}", artifact.seconds)};
    if (artifact.evaluations.empty()) {
      head.resize(rows.front().size());
      rows.push_back(head);
    }
    for (const EvaluationScore& score : artifact.evaluations) {
      std::vector<std::string> row = head;
      row.push_back(score.spec.benchmark);
      row.push_back(fmt::format("{}/{}", score.passed, std::uint64_t{score.tasks} * score.samples));
      row.push_back(percent(score.pass_at_1));
      row.push_back(fmt::format("{} .. {}", percent(score.interval.low), percent(score.interval.high)));
      if (const Comparison* comparison = comparison_of(report, artifact, score)) {
        row.push_back(fmt::format("{}/{}", comparison->pairs.only_a, comparison->pairs.only_b));
        row.push_back(odds(comparison->odds_ratio));
        row.push_back(p_value(comparison->p_adjusted));
      } else {
        row.insert(row.end(), 3, "");
      }
      rows.push_back(row);
    }
  }
  const bool evaluated =
      std::any_of(report.artifacts.begin(), report.artifacts.end(),
                  [](const ArtifactScore& artifact) { return !artifact.evaluations.empty(); });
  if (!evaluated) {
    for (auto& row : rows) row.resize(kColumnsOfSize);
    return layout(rows) + "\n  MB = 1e6 bytes of all chunks. loss: mean over linears of tr(dHd')/tr(WHW').\n";
  }
  return layout(rows) +
         "\n  MB = 1e6 bytes of all chunks. loss: mean over linears of tr(dHd')/tr(WHW'). lost/won: "
         "completions that only\n"
         "  the baseline / only this artifact solved; exact McNemar, p adjusted by Benjamini-Hochberg.\n";
}

std::string comparisons_to_table(const std::vector<Comparison>& comparisons) {
  std::vector<std::vector<std::string>> rows;
  rows.push_back({"a", "b", "benchmark", "only a", "only b", "odds", "p", "p adj."});
  for (const Comparison& comparison : comparisons)
    rows.push_back({comparison.a, comparison.b, comparison.benchmark, std::to_string(comparison.pairs.only_a),
                    std::to_string(comparison.pairs.only_b), odds(comparison.odds_ratio),
                    p_value(comparison.p), p_value(comparison.p_adjusted)});
  return layout(rows);
}

}  // namespace quench::coordinator
