#include "worker/evaluate/completion_cut.h"

#include <algorithm>
#include <array>

#include "schemas/error.h"

namespace quench::worker {
namespace {

constexpr std::array<std::string_view, 9> kHumanEvalStops{
    "\ndef ", "\nclass ", "\nif ", "\nprint", "\n#", "\n@", "\nassert", "\nimport", "\nfrom",
};
// An MBPP answer is a whole function, so nothing of it may stop at "\ndef ".
constexpr std::array<std::string_view, 4> kMbppStops{"\n\"\"\"", "\nassert", "\nprint", "\nif __name__"};
constexpr std::array<std::string_view, 4> kMultiplEStops{"\ndef", "\n#", "\nif", "\nclass"};
// EvalPlus ends a completion before these; those of a whole answer (MBPP+) let functions pass.
constexpr std::array<std::string_view, 8> kEvalPlusStops{
    "\nif __name__", "\ndef main(", "\nprint(", "\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ",
};
constexpr std::array<std::string_view, 5> kEvalPlusMbppStops{
    "\nif __name__", "\ndef main(", "\nprint(", "\n\"\"\"", "\nassert",
};
constexpr std::array<std::string_view, 2> kMcEvalJavaStops{"\n}", "public static void main"};

std::vector<std::string> strings(std::span<const std::string_view> views) {
  return {views.begin(), views.end()};
}

}  // namespace

std::span<const std::string_view> stop_strings(Benchmark benchmark) {
  switch (benchmark) {
    case Benchmark::humaneval:
    case Benchmark::humaneval_plus:
      return kHumanEvalStops;
    case Benchmark::mbpp:
    case Benchmark::mbpp_sanitized:
    case Benchmark::mbpp_plus:
      return kMbppStops;
    case Benchmark::multipl_e_humaneval:
    case Benchmark::multipl_e_mbpp:
    case Benchmark::mceval:
      return kMultiplEStops;
  }
  throw Error(ErrorCode::internal, "a benchmark without stop strings");
}

std::vector<std::string> stop_strings(const EvaluateSpec& spec, const ProblemSet& problems,
                                      const Problem& problem) {
  if (spec.prompt_form == PromptStyle::three_shot) return {"[DONE]"};
  if (spec.prompt_form == PromptStyle::evalplus)
    return problem.prompt_form == PromptForm::words ? strings(kEvalPlusMbppStops) : strings(kEvalPlusStops);
  if (!problem.stop_strings.empty()) return problem.stop_strings;
  if (problems.language() == Language::java)
    return spec.cut == CompletionCut::first_function ? std::vector<std::string>() : strings(kMcEvalJavaStops);
  return strings(stop_strings(problems.benchmark()));
}

std::optional<std::size_t> first_stop(Benchmark benchmark, std::string_view text, std::size_t from) {
  std::size_t earliest = std::string_view::npos;
  for (std::string_view stop : stop_strings(benchmark)) earliest = std::min(earliest, text.find(stop, from));
  if (earliest == std::string_view::npos) return std::nullopt;
  return earliest;
}

std::size_t resume_offset(Benchmark benchmark, std::size_t scanned) {
  std::size_t longest = 0;
  for (std::string_view stop : stop_strings(benchmark)) longest = std::max(longest, stop.size());
  // Searching `scanned` bytes found every stop that ends within them; one that does not may begin in the last
  // longest − 1.
  return scanned - std::min(scanned, longest - 1);
}

std::string_view cut_completion(Benchmark benchmark, std::string_view text) {
  return text.substr(0, first_stop(benchmark, text).value_or(text.size()));
}

std::string_view cut_completion(std::span<const std::string> stops, std::string_view text) {
  std::size_t end = text.size();
  for (const std::string& stop : stops) end = std::min(end, text.find(stop));
  return text.substr(0, end);
}

}  // namespace quench::worker
