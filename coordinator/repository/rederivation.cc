#include "coordinator/repository/rederivation.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "coordinator/repository/lineage.h"
#include "coordinator/trust/base64.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

constexpr int kDifferencesTold = 8;

bool same_recipe(QuantizeSpec a, const QuantizeSpec& nameless) {
  a.name.clear();
  return a == nameless;
}

}  // namespace

Rederivation rederivation_of(const ArtifactStore& store, const std::string& ref, const std::string& model) {
  const Lineage lineage = Lineages(store).of(store.resolve(ref));
  require_model(lineage.manifest, ref);
  if (!lineage.manifest.endpoint_url.empty())
    throw Error(ErrorCode::bad_input, ref + " is a model that is served elsewhere: there is no recipe to run");
  if (!lineage.job)
    throw Error(ErrorCode::bad_input, ref + " was not made in this store (it was pulled or imported), so its job is not known: "
                                            "run --rederive where it was made");
  Rederivation plan{lineage.digest, lineage.manifest, *lineage.job};
  plan.job.name = "rederive";
  plan.job.evaluate.clear();
  plan.job.protocol.clear();
  plan.job.quantize.clear();
  plan.job.baseline = lineage.manifest.recipe.method == Method::none;
  for (const QuantizeSpec& recipe : artifact_recipes(*lineage.job))
    if (same_recipe(recipe, lineage.manifest.recipe) && recipe.method != Method::none && plan.job.quantize.empty())
      plan.job.quantize.push_back(recipe);
  if (plan.job.quantize.empty() && !plan.job.baseline)
    throw Error(ErrorCode::corrupt, ref + " has a recipe that its job does not have");
  if (!model.empty()) plan.job.model = model;
  return plan;
}

std::string to_json(const Rederivation& plan) {
  using nlohmann::ordered_json;
  return ordered_json{{"digest", plan.digest.hex()},
                      {"calibration_set", plan.manifest.calibration_set.is_none() ? "" : plan.manifest.calibration_set.hex()},
                      {"manifest", to_base64(as_text(encode(plan.manifest)))},
                      {"job", ordered_json::parse(job_to_json(plan.job))}}
             .dump(2) +
         "\n";
}

std::string manifest_differences(const Manifest& stored, const Manifest& made) {
  std::string text;
  int told = 0;
  const auto tell = [&](const std::string& what) {
    if (told++ < kDifferencesTold) text += "  " + what + "\n";
  };
  if (stored.source != made.source) tell("the source model is another: " + made.source.hex());
  if (stored.calibration != made.calibration) tell("the calibration windows are others: " + made.calibration.hex());
  if (stored.recipe != made.recipe) tell("the recipe is another");
  std::map<std::string, const TensorRecord*> tensors;
  for (const TensorRecord& tensor : made.tensors) tensors[tensor.name] = &tensor;
  for (const TensorRecord& tensor : stored.tensors) {
    const auto other = tensors.find(tensor.name);
    if (other == tensors.end()) {
      tell(tensor.name + " was not made");
    } else if (*other->second != tensor) {
      tell(tensor.name + " has other bytes");
    }
  }
  if (stored.files != made.files) tell("the carried files (config, tokenizer) are others");
  if (stored.losses != made.losses) tell("the losses are others");
  if (told > kDifferencesTold) text += fmt::format("  and {} more\n", told - kDifferencesTold);
  if (told == 0 && stored != made) text = "  fields of the manifest differ\n";
  return text;
}

}  // namespace quench::coordinator
