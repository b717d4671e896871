#include "schemas/benchmarks.h"

#include <algorithm>

#include "schemas/nearest_name.h"

namespace quench {
namespace {

constexpr std::size_t kShownBytesMax = 60;  // of a name that a user gave

const BenchmarkName* find_benchmark(std::string_view name) {
  const auto& all = benchmark_names();
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& row) { return row.name == name; });
  return found == all.end() ? nullptr : &*found;
}

bool has_language(const BenchmarkName& benchmark, std::string_view language) {
  const auto& languages = benchmark.languages;
  return std::find(languages.begin(), languages.end(), language) != languages.end();
}

std::string unknown(std::string_view name, const std::vector<std::string>& known) {
  return "unknown name \"" + std::string(name.substr(0, kShownBytesMax)) + "\"" + known_names(name, known);
}

}  // namespace

const std::vector<BenchmarkName>& benchmark_names() {
  static const std::vector<BenchmarkName> kNames = {
      {"humaneval", {"python"}},
      {"humaneval+", {"python"}},
      {"mbpp", {"python"}},
      {"mbpp-sanitized", {"python"}},
      {"mbpp+", {"python"}},
      {"multipl-e-humaneval", {"python", "java"}},
      {"multipl-e-mbpp", {"python", "java"}},
      {"mceval", {"python", "java"}},
  };
  return kNames;
}

std::string benchmark_fault(std::string_view benchmark) {
  if (find_benchmark(benchmark) != nullptr) return {};
  std::vector<std::string> known;
  for (const BenchmarkName& row : benchmark_names()) known.push_back(row.name);
  return unknown(benchmark, known);
}

std::string language_fault(std::string_view benchmark, std::string_view language) {
  const BenchmarkName* found = find_benchmark(benchmark);
  if (found == nullptr || has_language(*found, language)) return {};
  std::vector<std::string> languages;
  std::string others;
  for (const BenchmarkName& row : benchmark_names()) {
    for (const std::string& one : row.languages)
      if (std::find(languages.begin(), languages.end(), one) == languages.end()) languages.push_back(one);
    if (has_language(row, language)) others += (others.empty() ? "" : ", ") + row.name;
  }
  if (others.empty()) return unknown(language, languages);
  return found->name + " has no tasks in " + std::string(language) + ", only in " + found->languages.front() +
         "; with " + std::string(language) + " there are " + others;
}

}  // namespace quench
