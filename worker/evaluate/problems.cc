#include "worker/evaluate/problems.h"

#include <array>
#include <cstdint>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "schemas/error.h"
#include "worker/evaluate/embedded_files.h"
#include "worker/evaluate/json_lines.h"

namespace quench::worker {
namespace {

struct BenchmarkRow {
  Benchmark benchmark;
  std::string_view name;
  std::string_view (*shipped_file)();
};
constexpr std::array kBenchmarks{
    BenchmarkRow{Benchmark::humaneval, "humaneval", embedded::human_eval_jsonl},
};

const BenchmarkRow& row_of(Benchmark benchmark) {
  for (const BenchmarkRow& row : kBenchmarks) {
    if (row.benchmark == benchmark) return row;
  }
  throw Error(ErrorCode::internal, "a benchmark without a row in the table of benchmarks");
}

// Python's identifiers may be more than ASCII; a problem's entry point never is.
bool is_identifier(std::string_view name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  for (char c : name) {
    const bool letter =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (!letter) return false;
  }
  return true;
}

Problem parse_problem(const nlohmann::ordered_json& line) {
  Problem problem;
  problem.task_id = required_string(line, "task_id");
  problem.prompt = required_string(line, "prompt");
  problem.entry_point = required_string(line, "entry_point");
  problem.canonical_solution = required_string(line, "canonical_solution");
  problem.test = required_string(line, "test");
  if (problem.task_id.empty()) {
    throw Error(ErrorCode::bad_input, "task_id is empty; expected a name such as HumanEval/0");
  }
  if (!is_identifier(problem.entry_point)) {
    throw Error(ErrorCode::bad_input,
                "entry_point \"" + problem.entry_point + "\" is not the name of a Python function");
  }
  for (const std::string* text :
       {&problem.task_id, &problem.prompt, &problem.canonical_solution, &problem.test}) {
    if (text->find('\0') != std::string::npos) {
      throw Error(ErrorCode::bad_input, "a field holds a NUL character; Python source cannot");
    }
  }
  return problem;
}

}  // namespace

std::string_view to_string(Benchmark benchmark) { return row_of(benchmark).name; }

Benchmark benchmark_from_string(std::string_view name) {
  std::string known;
  for (const BenchmarkRow& row : kBenchmarks) {
    if (row.name == name) return row.benchmark;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  throw Error(ErrorCode::bad_input, "unknown benchmark \"" + std::string(name) + "\"; known: " + known);
}

ProblemSet::ProblemSet(Benchmark benchmark, Digest digest, std::vector<Problem> problems)
    : benchmark_(benchmark), digest_(digest), problems_(std::move(problems)) {
  for (std::size_t i = 0; i < problems_.size(); ++i) {
    if (!index_by_task_.emplace(problems_[i].task_id, i).second) {
      throw Error(ErrorCode::bad_input, "two problems have the task_id \"" + problems_[i].task_id + "\"");
    }
  }
}

const Problem* ProblemSet::find(std::string_view task_id) const {
  const auto found = index_by_task_.find(std::string(task_id));
  return found == index_by_task_.end() ? nullptr : &problems_[found->second];
}

ProblemSet parse_problems(Benchmark benchmark, std::string_view text, const std::string& origin) {
  return in_context(origin, [&] {
    std::vector<Problem> problems;
    for_each_json_line(
        text, [&](std::size_t, nlohmann::ordered_json line) { problems.push_back(parse_problem(line)); });
    if (problems.empty())
      throw Error(ErrorCode::bad_input, "no problems in it; expected one JSON object per line");
    return ProblemSet(benchmark, sha256(text), std::move(problems));
  });
}

ProblemSet shipped_problems(Benchmark benchmark) {
  const BenchmarkRow& row = row_of(benchmark);
  return parse_problems(benchmark, row.shipped_file(), "the shipped problems of " + std::string(row.name));
}

ProblemSet problems_from_file(Benchmark benchmark, const std::filesystem::path& path) {
  return parse_problems(benchmark, read_text_file(path), path.string());
}

}  // namespace quench::worker
