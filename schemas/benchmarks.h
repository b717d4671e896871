// The names of the benchmarks and the languages each exists in: one table for job files, the command line
// and the worker, which ships the problem files. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace quench {

struct BenchmarkName {
  std::string name;
  std::vector<std::string> languages;  // the first is what the benchmark was made for
};

// Every benchmark, in the order they are listed to people.
const std::vector<BenchmarkName>& benchmark_names();

// What is wrong with the pair, as the end of a sentence with the remedy; empty when it exists.
std::string benchmark_fault(std::string_view benchmark);
std::string language_fault(std::string_view benchmark, std::string_view language);

}  // namespace quench
