#include "coordinator/scoring/grade_files.h"

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "schemas/error.h"

namespace quench::coordinator {
namespace {

using Outcomes = std::map<std::string, std::vector<bool>>;

Outcomes read_outcomes(const std::string& file) {
  std::ifstream in(file);
  if (!in) throw Error(ErrorCode::bad_input, "cannot read " + file);
  Outcomes outcomes;
  std::string line;
  for (std::size_t number = 1; std::getline(in, line); ++number) {
    if (line.empty()) continue;
    const nlohmann::json entry = nlohmann::json::parse(line, nullptr, false);
    if (!entry.is_object() || !entry.contains("task_id") || !entry["task_id"].is_string() ||
        !entry.contains("passed") || !entry["passed"].is_boolean())
      throw Error(ErrorCode::bad_input, file + ", line " + std::to_string(number) +
                                            ": expected {\"task_id\": …, \"passed\": true|false, …} as "
                                            "`quench grade` writes it");
    outcomes[entry["task_id"]].push_back(entry["passed"]);
  }
  if (outcomes.empty()) throw Error(ErrorCode::bad_input, file + " has no verdicts");
  return outcomes;
}

}  // namespace

std::vector<ArtifactScore> read_grade_files(const std::vector<std::string>& files) {
  std::vector<ArtifactScore> scores;
  Outcomes first;
  for (const std::string& file : files) {
    const Outcomes outcomes = read_outcomes(file);
    if (scores.empty()) first = outcomes;
    for (const auto& [task, samples] : first) {
      const auto other = outcomes.find(task);
      if (other == outcomes.end() || other->second.size() != samples.size())
        throw Error(ErrorCode::bad_input,
                    file + " has " + std::to_string(other == outcomes.end() ? 0 : other->second.size()) +
                        " samples of " + task + ", " + files.front() + " has " +
                        std::to_string(samples.size()) + ": only equal sets can be paired");
    }
    if (outcomes.size() != first.size())
      throw Error(ErrorCode::bad_input, file + " has tasks that " + files.front() + " lacks");
    ArtifactScore& score = scores.emplace_back();
    score.name = file;
    EvaluationScore& evaluation = score.evaluations.emplace_back();
    evaluation.tasks = static_cast<std::uint32_t>(outcomes.size());
    evaluation.spec.benchmark = "grade";
    for (const auto& [task, samples] : outcomes)
      for (const bool passed : samples) {
        evaluation.outcomes.push_back(passed);
        evaluation.passed += passed ? 1 : 0;
      }
  }
  return scores;
}

}  // namespace quench::coordinator
