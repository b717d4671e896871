#include "schemas/protocols.h"

#include "schemas/error.h"

namespace quench {
namespace {

constexpr std::string_view kGiagnorio = "giagnorio-2025";
constexpr std::uint32_t kGiagnorioTokens = 1024;
constexpr std::uint32_t kGiagnorioMcEvalTokens = 1500;

void check_name(std::string_view protocol) { QUENCH_CHECK(protocol == kGiagnorio, std::string(protocol)); }

}  // namespace

std::vector<std::string> protocol_names() { return {std::string(kGiagnorio)}; }

std::optional<EvaluateSpec> under_protocol(std::string_view protocol, EvaluateSpec spec) {
  check_name(protocol);
  const bool is_mceval = spec.benchmark == "mceval";
  if (!is_mceval && spec.benchmark != "multipl-e-humaneval") return std::nullopt;
  spec.samples = 20;
  spec.temperature = 0.2;
  spec.top_p = 0.95;
  spec.top_k = 0;
  spec.max_tokens = is_mceval ? kGiagnorioMcEvalTokens : kGiagnorioTokens;
  spec.prompt_form = PromptStyle::stripped;
  spec.cut = CompletionCut::first_function;
  spec.token_budget = TokenBudget::including_prompt;
  spec.chat = ChatTemplate::none;
  return spec;
}

std::vector<EvaluateSpec> protocol_evaluations(std::string_view protocol) {
  check_name(protocol);
  std::vector<EvaluateSpec> all;
  for (const char* benchmark : {"multipl-e-humaneval", "mceval"})
    for (const char* language : {"python", "java"})
      all.push_back(under_protocol(protocol, {.benchmark = benchmark, .language = language}).value());
  return all;
}

CalibrationSpec protocol_calibration(std::string_view protocol) {
  check_name(protocol);
  return {.sequences = 1024, .length = 4096};
}

}  // namespace quench
