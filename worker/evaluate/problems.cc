#include "worker/evaluate/problems.h"

#include <nlohmann/json.hpp>

#include "schemas/error.h"
#include "worker/evaluate/gzip.h"
#include "worker/evaluate/json_lines.h"
#include "worker/evaluate/problem_forms.h"

namespace quench::worker {

std::string with_prompt(const Problem& problem, std::string_view completion) {
  return (problem.prompt_form == PromptForm::code_to_complete ? problem.prompt : std::string()) +
         std::string(completion);
}

ProblemSet::ProblemSet(Benchmark benchmark, Language language, Digest digest, std::vector<Problem> problems)
    : benchmark_(benchmark), language_(language), digest_(digest), problems_(std::move(problems)) {
  for (std::size_t i = 0; i < problems_.size(); ++i) {
    if (!index_by_task_.emplace(problems_[i].task_id, i).second) {
      throw Error(ErrorCode::bad_input, "two problems have the task_id \"" + problems_[i].task_id + "\"");
    }
  }
}

const Problem* ProblemSet::find(std::string_view task_id) const {
  const auto found = index_by_task_.find(one_task_id(benchmark_, task_id));
  return found == index_by_task_.end() ? nullptr : &problems_[found->second];
}

ProblemSet parse_problems(Benchmark benchmark, Language language, std::string_view text,
                          const std::string& origin) {
  return in_context(origin, [&] {
    require_language(benchmark, language);
    std::vector<Problem> problems;
    for_each_json_object(text, [&](std::size_t, nlohmann::ordered_json object) {
      problems.push_back(parse_problem(benchmark, language, object));
    });
    if (problems.empty()) throw Error(ErrorCode::bad_input, "no problems in it; expected one JSON object per line");
    return ProblemSet(benchmark, language, sha256(text), std::move(problems));
  });
}

ProblemSet shipped_problems(Benchmark benchmark, Language language) {
  return parse_problems(benchmark, language, shipped_problem_file(benchmark, language),
                        "the shipped problems of " + std::string(to_string(benchmark)));
}

ProblemSet problems_from_file(Benchmark benchmark, Language language, const std::filesystem::path& path) {
  const std::string text = in_context(path.string(), [&] { return unpacked(read_text_file(path)); });
  return parse_problems(benchmark, language, text, path.string());
}

}  // namespace quench::worker
