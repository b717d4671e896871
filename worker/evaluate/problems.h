// Benchmarks and their problem files: what a model is asked, and how its answer is tested.
//
// The shipped files are part of the binary, so a rank on any host has them; a user may give his own
// file of the same form. The digest of the file's bytes is part of a verdict's key: a changed
// problem file never meets old verdicts. Pure functions on text; any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "schemas/digest.h"

namespace quench::worker {

// A benchmark has one name everywhere: job files, the command line, stored verdicts. A new one adds
// its enumerator, its row in problems.cc's table, its prompt and its test program.
enum class Benchmark { humaneval };

std::string_view to_string(Benchmark benchmark);
// Throws Error(bad_input) naming the known benchmarks.
Benchmark benchmark_from_string(std::string_view name);

// One task. `prompt` ends inside the function `entry_point`, `canonical_solution` is a body that
// completes it, `test` defines check(candidate), which asserts.
struct Problem {
  std::string task_id;
  std::string prompt;
  std::string entry_point;
  std::string canonical_solution;
  std::string test;
};

class ProblemSet {
 public:
  // Throws Error(bad_input) when two problems share a task id.
  ProblemSet(Benchmark benchmark, Digest digest, std::vector<Problem> problems);
  Benchmark benchmark() const { return benchmark_; }
  // SHA-256 of the file's bytes.
  const Digest& digest() const { return digest_; }
  // In the file's order.
  const std::vector<Problem>& problems() const { return problems_; }
  // nullptr when there is no such task. The pointer lives as long as the set.
  const Problem* find(std::string_view task_id) const;

 private:
  Benchmark benchmark_;
  Digest digest_;
  std::vector<Problem> problems_;
  std::unordered_map<std::string, std::size_t> index_by_task_;
};

// The file that ships with the product.
ProblemSet shipped_problems(Benchmark benchmark);
// A file of the same form: JSON lines. Throws Error(bad_input) naming file, line and field.
ProblemSet problems_from_file(Benchmark benchmark, const std::filesystem::path& path);
// The parser of both; `origin` names the text in errors.
ProblemSet parse_problems(Benchmark benchmark, std::string_view text, const std::string& origin);

}  // namespace quench::worker
