// Problems: what a model is asked, and how its answer is tested.
//
// The shipped files are part of the binary, so a rank on any host has them; a user may give his own
// file of the same form, packed with gzip or not. The digest of the unpacked file is part of a verdict's key: a
// changed problem file never meets old verdicts. Pure functions on text; any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "schemas/digest.h"
#include "worker/evaluate/benchmarks.h"

namespace quench::worker {

// How a problem's tests meet the answer.
enum class TestForm {
  // `test` defines check(candidate), which asserts: HumanEval, HumanEval+.
  check_function,
  // `test` is a Python program that runs after the answer's definitions, names them, and ends: MBPP,
  // MBPP+, MultiPL-E, McEval.
  script,
  // `test` is what follows the answer in one Java file, up to the closing brace of the class that the
  // prompt opens, with a main method that asserts: MultiPL-E, McEval.
  java_class,
};

// Whether a completion goes on where the prompt ends, or stands alone: MBPP asks in words.
enum class PromptForm { code_to_complete, words };

// One task.
struct Problem {
  std::string task_id;  // as one_task_id() spells it
  std::string prompt;   // code to complete, or MBPP's sentence
  // The function that the tests call; empty where the file does not say (MBPP, McEval, MultiPL-E's HumanEval).
  std::string entry_point;
  // Completes `prompt`, or is a whole solution when that is words; empty where the file has none.
  std::string canonical_solution;
  std::string test;
  TestForm test_form = TestForm::check_function;
  PromptForm prompt_form = PromptForm::code_to_complete;
  // MBPP's assertions: its prompts show some of them.
  std::vector<std::string> assertions{};
  // MBPP+ as EvalPlus asks it: a docstring with the first assertion. Empty elsewhere.
  std::string evalplus_prompt{};
  // What the file says ends a completion (MultiPL-E, McEval in Python).
  std::vector<std::string> stop_strings{};
};

// The text that holds `completion` in the language of the problem, without the tests: what the prompt opens is
// before it. A solution needs no such text, it is one.
std::string with_prompt(const Problem& problem, std::string_view completion);

class ProblemSet {
 public:
  // Throws Error(bad_input) when two problems share a task id.
  ProblemSet(Benchmark benchmark, Language language, Digest digest, std::vector<Problem> problems);
  Benchmark benchmark() const { return benchmark_; }
  Language language() const { return language_; }
  // SHA-256 of the unpacked file's bytes.
  const Digest& digest() const { return digest_; }
  // In the file's order.
  const std::vector<Problem>& problems() const { return problems_; }
  // Any spelling that one_task_id() knows; nullptr when there is no such task. The pointer lives as long as
  // the set.
  const Problem* find(std::string_view task_id) const;

 private:
  Benchmark benchmark_;
  Language language_;
  Digest digest_;
  std::vector<Problem> problems_;
  std::unordered_map<std::string, std::size_t> index_by_task_;
};

// The file that ships with the product. Throws Error(bad_input) for a language that the benchmark lacks.
ProblemSet shipped_problems(Benchmark benchmark, Language language = Language::python);
// A file of the same form: JSON lines or one JSON array. Throws Error(bad_input) naming file, line and field.
ProblemSet problems_from_file(Benchmark benchmark, Language language, const std::filesystem::path& path);
// The parser of both, of unpacked text; `origin` names the text in errors.
ProblemSet parse_problems(Benchmark benchmark, Language language, std::string_view text,
                          const std::string& origin);

}  // namespace quench::worker
