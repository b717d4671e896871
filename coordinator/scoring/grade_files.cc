#include "coordinator/scoring/grade_files.h"

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "schemas/error.h"

namespace quench::coordinator {
namespace {

// What one file says: outcomes by task.
struct GradeFile {
  std::map<std::string, std::vector<bool>> outcomes;
  std::map<std::string, std::uint64_t> confinement;
  std::string language;
};

[[noreturn]] void bad_line(const std::string& file, std::size_t number, const std::string& problem) {
  throw Error(ErrorCode::bad_input, file + ", line " + std::to_string(number) + ": " + problem);
}

// "namespaces" or "namespaces, not isolated": how this line's program was kept apart, as far as it says.
std::string confinement_of(const nlohmann::json& line) {
  std::string words;
  if (const auto named = line.find("confinement"); named != line.end() && named->is_string())
    words = named->get<std::string>();
  if (const auto isolated = line.find("isolated"); isolated != line.end() && isolated->is_boolean())
    words += std::string(words.empty() ? "" : ", ") + (isolated->get<bool>() ? "isolated" : "not isolated");
  return words.empty() ? "unknown" : words;
}

GradeFile read_grade_file(const std::string& file) {
  std::ifstream in(file);
  if (!in) throw Error(ErrorCode::bad_input, "cannot read " + file);
  GradeFile result;
  std::string line;
  for (std::size_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const nlohmann::json entry = nlohmann::json::parse(line, nullptr, false);
    if (!entry.is_object() || !entry.contains("task_id") || !entry["task_id"].is_string() ||
        !entry.contains("passed") || !entry["passed"].is_boolean())
      bad_line(file, number,
               "expected {\"task_id\": …, \"passed\": true|false, …} as `quench grade` writes it");
    const std::string language = entry.value("language", nlohmann::json("")).is_string()
                                     ? entry.value("language", nlohmann::json("")).get<std::string>()
                                     : std::string();
    if (result.outcomes.empty()) result.language = language;
    if (language != result.language)
      bad_line(file, number,
               "language \"" + language + "\" after lines of \"" + result.language +
                   "\": compare one language at a time");
    result.outcomes[entry["task_id"]].push_back(entry["passed"]);
    ++result.confinement[confinement_of(entry)];
  }
  if (in.bad()) throw Error(ErrorCode::failed, "cannot read " + file + " to its end");
  if (result.outcomes.empty()) throw Error(ErrorCode::bad_input, file + " has no verdicts");
  return result;
}

// Pairs exist only when both files have the same tasks with equally many samples.
void check_pairs(const std::string& first_name, const GradeFile& first, const std::string& name,
                 const GradeFile& other) {
  if (other.language != first.language)
    throw Error(ErrorCode::bad_input, name + " is of language \"" + other.language + "\", " + first_name +
                                          " of \"" + first.language + "\": they cannot be paired");
  for (const auto& [task, samples] : first.outcomes) {
    const auto found = other.outcomes.find(task);
    const std::size_t count = found == other.outcomes.end() ? 0 : found->second.size();
    if (count != samples.size())
      throw Error(ErrorCode::bad_input, name + " has " + std::to_string(count) + " samples of " + task +
                                            ", " + first_name + " has " + std::to_string(samples.size()) +
                                            ": only equal sets can be paired");
  }
  if (other.outcomes.size() != first.outcomes.size())
    throw Error(ErrorCode::bad_input, name + " has tasks that " + first_name + " lacks");
}

}  // namespace

std::vector<ArtifactScore> read_grade_files(const std::vector<std::string>& files,
                                            std::span<const std::uint32_t> ks) {
  std::vector<ArtifactScore> scores;
  GradeFile first;
  for (const std::string& file : files) {
    GradeFile grades = read_grade_file(file);
    if (scores.empty())
      first = grades;
    else
      check_pairs(files.front(), first, file, grades);
    ArtifactScore& score = scores.emplace_back();
    score.name = file;
    EvaluationScore& evaluation = score.evaluations.emplace_back();
    evaluation.spec.benchmark = "grade";
    evaluation.spec.language = grades.language;
    evaluation.confinement = std::move(grades.confinement);
    for (auto& [task, passed] : grades.outcomes) evaluation.outcomes.push_back({task, std::move(passed)});
    in_context(file, [&] { score_outcomes(evaluation, ks); });
  }
  return scores;
}

}  // namespace quench::coordinator
