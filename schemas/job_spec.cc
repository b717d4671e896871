#include "schemas/job_spec.h"

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
  if (spec.sandbox == SandboxKind::landlock) text += ", a Landlock sandbox allowed";
  return text;
}

QuantizeSpec with_fixed_settings(QuantizeSpec spec) {
  const QuantizeSpec defaults;
  if (spec.method != Method::gptq) {
    spec.act_order = defaults.act_order;
    spec.damping = defaults.damping;
    spec.budget_gib = 0;
  }
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
  return spec;
}

std::string derived_name(const QuantizeSpec& spec) {
  std::string name(to_string(spec.method));
  if (spec.method == Method::none || spec.method == Method::int8) return name;
  if (spec.budget_gib > 0) {
    char text[40];
    std::snprintf(text, sizeof text, "-%.6gGiB", spec.budget_gib);
    name += text;
  } else {
    name.append("-").append(std::to_string(spec.bits)).append("bit");
    name += spec.group_size < 0 ? "-row" : std::string("-g").append(std::to_string(spec.group_size));
  }
  name += spec.symmetric ? "-sym" : "-asym";
  if (spec.scale_rule == ScaleRule::search) name += "-search";
  if (spec.method == Method::gptq && spec.act_order) name += "-actorder";
  if (spec.method == Method::gptq && spec.damping != QuantizeSpec{}.damping) {
    char text[32];
    std::snprintf(text, sizeof text, "-damp%.6g", spec.damping);
    name += text;
  }
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
