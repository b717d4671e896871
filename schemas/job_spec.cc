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

QuantizeSpec with_fixed_settings(QuantizeSpec spec) {
  const QuantizeSpec defaults;
  if (spec.method != Method::gptq) {
    spec.act_order = defaults.act_order;
    spec.damping = defaults.damping;
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
  name.append("-").append(std::to_string(spec.bits)).append("bit");
  name += spec.group_size < 0 ? "-row" : std::string("-g").append(std::to_string(spec.group_size));
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
