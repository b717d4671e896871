#include "worker/evaluate/benchmarks.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "schemas/error.h"
#include "worker/evaluate/embedded_files.h"
#include "worker/evaluate/gzip.h"

namespace quench::worker {
namespace {

struct ShippedFile {
  Language language;
  std::string_view (*bytes)();
};

struct BenchmarkRow {
  Benchmark benchmark;
  std::string_view name;
  ProblemFileForm form;
  std::uint32_t time_limit_ms;
  std::span<const ShippedFile> files;
};

constexpr std::array kHumanEval{ShippedFile{Language::python, embedded::human_eval}};
constexpr std::array kHumanEvalPlus{ShippedFile{Language::python, embedded::human_eval_plus}};
constexpr std::array kMbpp{ShippedFile{Language::python, embedded::mbpp}};
constexpr std::array kMbppSanitized{ShippedFile{Language::python, embedded::mbpp_sanitized}};
constexpr std::array kMbppPlus{ShippedFile{Language::python, embedded::mbpp_plus}};
constexpr std::array kMultiplEHumanEval{ShippedFile{Language::python, embedded::multipl_e_humaneval_python},
                                        ShippedFile{Language::java, embedded::multipl_e_humaneval_java}};
constexpr std::array kMultiplEMbpp{ShippedFile{Language::python, embedded::multipl_e_mbpp_python},
                                   ShippedFile{Language::java, embedded::multipl_e_mbpp_java}};
constexpr std::array kMcEval{ShippedFile{Language::python, embedded::mceval_python},
                             ShippedFile{Language::java, embedded::mceval_java}};

constexpr std::uint32_t kUsualMs = 3000;
constexpr std::uint32_t kExtendedMs = 20000;

constexpr std::array kRows{
    BenchmarkRow{Benchmark::humaneval, "humaneval", ProblemFileForm::human_eval, kUsualMs, kHumanEval},
    BenchmarkRow{Benchmark::humaneval_plus, "humaneval+", ProblemFileForm::human_eval, kExtendedMs, kHumanEvalPlus},
    BenchmarkRow{Benchmark::mbpp, "mbpp", ProblemFileForm::mbpp, kUsualMs, kMbpp},
    BenchmarkRow{Benchmark::mbpp_sanitized, "mbpp-sanitized", ProblemFileForm::mbpp, kUsualMs, kMbppSanitized},
    BenchmarkRow{Benchmark::mbpp_plus, "mbpp+", ProblemFileForm::mbpp_plus, kExtendedMs, kMbppPlus},
    BenchmarkRow{Benchmark::multipl_e_humaneval, "multipl-e-humaneval", ProblemFileForm::multipl_e, kUsualMs,
                 kMultiplEHumanEval},
    BenchmarkRow{Benchmark::multipl_e_mbpp, "multipl-e-mbpp", ProblemFileForm::multipl_e, kUsualMs, kMultiplEMbpp},
    BenchmarkRow{Benchmark::mceval, "mceval", ProblemFileForm::multipl_e, kUsualMs, kMcEval},
};

constexpr std::array kLanguages{Language::python, Language::java};

const BenchmarkRow& row_of(Benchmark benchmark) {
  for (const BenchmarkRow& row : kRows) {
    if (row.benchmark == benchmark) return row;
  }
  throw Error(ErrorCode::internal, "a benchmark without a row in the table of benchmarks");
}

const ShippedFile& file_of(Benchmark benchmark, Language language) {
  const BenchmarkRow& row = row_of(benchmark);
  std::string known;
  for (const ShippedFile& file : row.files) {
    if (file.language == language) return file;
    known += (known.empty() ? "" : ", ") + std::string(to_string(file.language));
  }
  throw Error(ErrorCode::bad_input, std::string(row.name) + " has no problems in " +
                                        std::string(to_string(language)) + "; it has: " + known);
}

bool is_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

std::string_view to_string(Benchmark benchmark) { return row_of(benchmark).name; }

std::string_view to_string(Language language) {
  switch (language) {
    case Language::python:
      return "python";
    case Language::java:
      return "java";
  }
  throw Error(ErrorCode::internal, "a language without a name");
}

Benchmark benchmark_from_string(std::string_view name) {
  std::string known;
  for (const BenchmarkRow& row : kRows) {
    if (row.name == name) return row.benchmark;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  throw Error(ErrorCode::bad_input, "unknown benchmark \"" + std::string(name) + "\"; known: " + known);
}

Language language_from_string(std::string_view name) {
  std::string known;
  for (const Language language : kLanguages) {
    if (to_string(language) == name) return language;
    known += (known.empty() ? "" : ", ") + std::string(to_string(language));
  }
  throw Error(ErrorCode::bad_input, "unknown language \"" + std::string(name) + "\"; known: " + known);
}

std::span<const Benchmark> all_benchmarks() {
  static constexpr auto kAll = [] {
    std::array<Benchmark, kRows.size()> all{};
    for (std::size_t i = 0; i < kRows.size(); ++i) all[i] = kRows[i].benchmark;
    return all;
  }();
  return kAll;
}

std::span<const Language> languages_of(Benchmark benchmark) {
  return std::span(kLanguages).first(row_of(benchmark).files.size());
}

void require_language(Benchmark benchmark, Language language) { file_of(benchmark, language); }

std::uint32_t time_limit_ms(Benchmark benchmark) { return row_of(benchmark).time_limit_ms; }

ProblemFileForm problem_file_form(Benchmark benchmark) { return row_of(benchmark).form; }

std::string one_task_id(Benchmark benchmark, std::string_view task_id) {
  const ProblemFileForm form = problem_file_form(benchmark);
  if (form != ProblemFileForm::mbpp && form != ProblemFileForm::mbpp_plus) return std::string(task_id);
  static constexpr std::string_view kPrefix = "Mbpp/";
  const bool has_prefix = task_id.size() > kPrefix.size() &&
                          std::equal(kPrefix.begin(), kPrefix.end(), task_id.begin(), [](char a, char b) {
                            return std::tolower(static_cast<unsigned char>(a)) ==
                                   std::tolower(static_cast<unsigned char>(b));
                          });
  const std::string_view number = has_prefix ? task_id.substr(kPrefix.size()) : task_id;
  return is_digits(number) ? std::string(kPrefix) + std::string(number) : std::string(task_id);
}

std::string shipped_problem_file(Benchmark benchmark, Language language) {
  return unpacked(file_of(benchmark, language).bytes());
}

}  // namespace quench::worker
