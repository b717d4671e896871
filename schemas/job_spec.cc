#include "schemas/job_spec.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "schemas/error.h"

namespace quench {

std::string_view to_string(Method method) {
  switch (method) {
    case Method::none:
      return "none";
    case Method::int8:
      return "int8";
    case Method::rtn:
      return "rtn";
    case Method::gptq:
      return "gptq";
    case Method::aqlm:
      return "aqlm";
    case Method::awq:
      return "awq";
  }
  return "unknown";
}

std::string_view to_string(ScaleRule rule) { return rule == ScaleRule::search ? "search" : "range"; }

std::string_view to_string(CalibrationKind kind) {
  switch (kind) {
    case CalibrationKind::files:
      return "files";
    case CalibrationKind::random:
      return "random";
    case CalibrationKind::code:
      return "code";
    case CalibrationKind::mixed:
      return "mixed";
  }
  return "unknown";
}

std::string_view to_string(Arithmetic arithmetic) { return arithmetic == Arithmetic::bf16 ? "bf16" : "fp32"; }

std::string_view to_string(Activations activations) {
  switch (activations) {
    case Activations::none:
      return "none";
    case Activations::dynamic:
      return "dynamic";
    case Activations::fixed:
      return "static";
  }
  return "unknown";
}

std::string_view to_string(FineTuning tuning) {
  switch (tuning) {
    case FineTuning::none:
      return "none";
    case FineTuning::block:
      return "block";
    case FineTuning::end_to_end:
      return "endToEnd";
  }
  return "unknown";
}

std::string_view to_string(PromptStyle form) {
  switch (form) {
    case PromptStyle::native:
      return "native";
    case PromptStyle::stripped:
      return "stripped";
    case PromptStyle::three_shot:
      return "threeShot";
    case PromptStyle::evalplus:
      return "evalplus";
  }
  return "unknown";
}

std::string_view to_string(CompletionCut cut) {
  return cut == CompletionCut::first_function ? "firstFunction" : "stopStrings";
}

std::string_view to_string(TokenBudget budget) {
  return budget == TokenBudget::including_prompt ? "includingPrompt" : "newTokens";
}

std::string_view to_string(ChatTemplate chat) {
  switch (chat) {
    case ChatTemplate::none:
      return "none";
    case ChatTemplate::automatic:
      return "auto";
    case ChatTemplate::codellama_instruct:
      return "codellamaInstruct";
    case ChatTemplate::deepseek_coder_instruct:
      return "deepseekCoderInstruct";
    case ChatTemplate::qwen_coder_instruct:
      return "qwenCoderInstruct";
  }
  return "unknown";
}

std::string_view to_string(SandboxKind sandbox) {
  return sandbox == SandboxKind::landlock ? "landlock" : "namespaces";
}

std::string described(const EvaluateSpec& spec) {
  char sampling[96];
  std::snprintf(sampling, sizeof sampling, "temperature %g, top-p %g", spec.temperature, spec.top_p);
  std::string text = spec.benchmark + " " + spec.language + ": ";
  text += spec.tasks == 0 ? "all tasks" : "the first " + std::to_string(spec.tasks) + " tasks";
  text += ", " + std::to_string(spec.samples) + (spec.samples == 1 ? " sample" : " samples");
  text += spec.temperature == 0 ? std::string(", greedy") : std::string(", ") + sampling;
  if (spec.temperature != 0 && spec.top_k != 0) text += ", top-k " + std::to_string(spec.top_k);
  text += ", " + std::to_string(spec.max_tokens);
  text += spec.token_budget == TokenBudget::including_prompt ? " tokens including the prompt" : " new tokens";
  text += ", prompt " + std::string(to_string(spec.prompt_form));
  text += ", cut " + std::string(to_string(spec.cut));
  text += ", chat " + std::string(to_string(spec.chat));
  text += spec.timeout_seconds == 0 ? ", the benchmark's time limit"
                                    : ", " + std::to_string(spec.timeout_seconds) + " s per program";
  text += ", seed " + std::to_string(spec.seed);
  if (spec.arithmetic == Arithmetic::bf16) text += ", products of bf16";
  if (spec.sandbox == SandboxKind::landlock) text += ", a Landlock sandbox allowed";
  return text;
}

std::uint32_t additive_bits(const QuantizeSpec& spec) {
  const double group = std::max(spec.group_size, 1);
  const double bits = static_cast<double>(spec.codebooks) * spec.codebook_bits / group;
  return std::max(1u, static_cast<std::uint32_t>(bits + 0.5));
}

bool needs_calibration(const QuantizeSpec& spec) {
  return spec.method == Method::gptq || spec.method == Method::aqlm || spec.method == Method::awq ||
         (spec.method == Method::int8 && spec.activations == Activations::fixed);
}

QuantizeSpec with_fixed_settings(QuantizeSpec spec) {
  const QuantizeSpec defaults;
  if (spec.method != Method::gptq) {
    spec.act_order = defaults.act_order;
    spec.damping = defaults.damping;
    spec.budget_gib = 0;
  }
  if (spec.method != Method::gptq && spec.method != Method::awq) spec.arithmetic = defaults.arithmetic;
  if (spec.method != Method::int8) spec.activations = defaults.activations;
  if (spec.budget_gib > 0) {
    spec.bits = 0;
    spec.group_size = -1;
  }
  if (spec.method == Method::int8 || spec.method == Method::none) {
    spec.bits = spec.method == Method::int8 ? 8 : 0;
    spec.group_size = -1;
    spec.symmetric = true;
    spec.scale_rule = ScaleRule::range;
  }
  if (spec.method == Method::awq) {
    spec.symmetric = false;
    spec.scale_rule = ScaleRule::range;
  }
  if (spec.method == Method::aqlm) {
    spec.symmetric = true;
    spec.scale_rule = ScaleRule::range;
    if (spec.group_size == defaults.group_size) spec.group_size = kAdditiveGroupSize;
    spec.bits = additive_bits(spec);
  } else {
    spec.codebooks = defaults.codebooks;
    spec.codebook_bits = defaults.codebook_bits;
    spec.tolerance = defaults.tolerance;
    spec.seed = defaults.seed;
    spec.fine_tuning = defaults.fine_tuning;
  }
  if (spec.fine_tuning == FineTuning::none) {
    spec.fine_tune_epochs = defaults.fine_tune_epochs;
    spec.fine_tune_batch = defaults.fine_tune_batch;
    spec.learning_rate = defaults.learning_rate;
    spec.patience = defaults.patience;
    spec.validation_sequences = defaults.validation_sequences;
  }
  if (spec.fine_tuning != FineTuning::end_to_end) spec.end_to_end_learning_rate = defaults.end_to_end_learning_rate;
  return spec;
}

std::string derived_name(const QuantizeSpec& spec) {
  std::string name(to_string(spec.method));
  if (spec.method == Method::int8 && spec.activations != Activations::none)
    name.append("-").append(to_string(spec.activations));
  if (spec.method == Method::none || spec.method == Method::int8) return name;
  const QuantizeSpec defaults;
  const auto number = [](double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", value);
    return std::string(text);
  };
  if (spec.method == Method::aqlm) {
    name.append("-").append(std::to_string(spec.codebooks)).append("x").append(std::to_string(spec.codebook_bits));
    name.append("-g").append(std::to_string(spec.group_size));
    if (spec.tolerance != defaults.tolerance) name.append("-tol").append(number(spec.tolerance));
    if (spec.fine_tuning == FineTuning::block) name += "-ft";
    if (spec.fine_tuning == FineTuning::end_to_end) name += "-e2e";
    if (spec.seed != defaults.seed) name.append("-seed").append(std::to_string(spec.seed));
    return name;
  }
  if (spec.budget_gib > 0) {
    name.append("-").append(number(spec.budget_gib)).append("GiB");
  } else {
    name.append("-").append(std::to_string(spec.bits)).append("bit");
    name += spec.group_size < 0 ? "-row" : std::string("-g").append(std::to_string(spec.group_size));
  }
  if (spec.method != Method::awq) name += spec.symmetric ? "-sym" : "-asym";
  if (spec.scale_rule == ScaleRule::search) name += "-search";
  if (spec.method == Method::gptq && spec.act_order) name += "-actorder";
  if (spec.method == Method::gptq && spec.damping != defaults.damping) name.append("-damp").append(number(spec.damping));
  if (spec.arithmetic == Arithmetic::bf16) name += "-bf16";
  return name;
}

std::vector<QuantizeSpec> artifact_recipes(const JobSpec& job) {
  std::vector<QuantizeSpec> recipes;
  if (job.baseline) {
    QuantizeSpec baseline;
    baseline.method = Method::none;
    recipes.push_back(baseline);
  }
  recipes.insert(recipes.end(), job.quantize.begin(), job.quantize.end());
  std::set<std::string> names;
  for (QuantizeSpec& recipe : recipes) {
    recipe = with_fixed_settings(recipe);
    if (recipe.name.empty()) recipe.name = derived_name(recipe);
    if (!names.insert(recipe.name).second)
      throw Error(ErrorCode::bad_input, "two artifacts are named \"" + recipe.name +
                                            "\": give one of them another \"name\" in \"quantize\"");
  }
  return recipes;
}

}  // namespace quench
