#include "coordinator/plan/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <numeric>
#include <set>

#include "coordinator/plan/work_counts.h"
#include "schemas/artifact.h"
#include "schemas/bit_budget.h"
#include "schemas/error.h"
#include "schemas/packed_layout.h"
#include "schemas/safetensors.h"
#include "schemas/synthetic_model.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// The tensors of the job's model as they are stored.
class StoredModel {
 public:
  explicit StoredModel(const std::string& model) : model_(model), synthetic_(is_synthetic(model)) {
    if (!synthetic_) tensors_ = locate_tensors(model);
  }
  // The bytes of a tensor which must be there with this shape, in a type the engine reads.
  std::uint64_t bytes(const std::string& name, const std::vector<std::uint64_t>& shape) const {
    if (synthetic_)
      return std::accumulate(shape.begin(), shape.end(), std::uint64_t{dtype_bytes(DType::bf16)}, std::multiplies<>());
    const auto found = tensors_.find(name);
    if (found == tensors_.end())
      throw Error(ErrorCode::bad_input,
                  fmt::format("{}: no tensor \"{}\", which config.json calls for with shape {}", model_,
                              name, shape_text(shape)));
    const TensorEntry& entry = found->second.entry;
    const std::string where = fmt::format("{}: tensor \"{}\"", found->second.file.string(), name);
    if (entry.shape != shape)
      throw Error(ErrorCode::bad_input, fmt::format("{} has shape {}, but config.json calls for {}", where,
                                                    shape_text(entry.shape), shape_text(shape)));
    if (entry.dtype != DType::f32 && entry.dtype != DType::f16 && entry.dtype != DType::bf16)
      throw Error(ErrorCode::bad_input,
                  fmt::format("{} is {}; expected F32, F16 or BF16 weights", where, to_string(entry.dtype)));
    return entry.bytes;
  }

 private:
  std::string model_;
  bool synthetic_;
  std::map<std::string, TensorLocation> tensors_;
};

// What a recipe with a budget takes of the blocks' linears: all that the rest of the artifact leaves, at most the
// largest choice. Throws Error(bad_input) when the smallest does not fit.
std::uint64_t budgeted_bytes(const QuantizeSpec& recipe, const std::vector<LinearShape>& block, std::uint32_t layers,
                             std::uint64_t outer_bytes, const std::string& model_dir) {
  std::uint64_t fixed = outer_bytes, smallest = 0, largest = 0;
  for (const char* name : kCarriedFiles)
    if (const fs::path file = fs::path(model_dir) / name; fs::is_regular_file(file)) fixed += fs::file_size(file);
  for (const LinearShape& linear : block) {
    std::uint64_t low = ~std::uint64_t{0}, high = 0;
    for (const auto& [bits, group_size] : budget_choices(linear)) {
      const std::uint64_t bytes = packed_linear_bytes(linear, with_choice(recipe, bits, group_size));
      low = std::min(low, bytes);
      high = std::max(high, bytes);
    }
    smallest += low * layers;
    largest += high * layers;
  }
  const std::uint64_t budget = budget_bytes(recipe);
  if (fixed + smallest > budget)
    throw Error(ErrorCode::bad_input,
                fmt::format("budgetGiB {}: at its smallest this model takes {:.6g} GiB ({:.6g} for what is not quantized): give it more",
                            recipe.budget_gib, static_cast<double>(fixed + smallest) / kGiB, static_cast<double>(fixed) / kGiB));
  return std::min(largest, budget - fixed);
}

// Before anything is read: whether every linear of a block has groups to learn codebooks from.
void check_codebooks(const std::vector<LinearShape>& block, const QuantizeSpec& recipe) {
  for (const LinearShape& linear : block) {
    std::string fault = additive_fault(recipe.codebooks, recipe.codebook_bits, recipe.group_size, linear.inputs);
    if (fault.empty()) fault = sample_fault(recipe.codebook_bits, recipe.group_size, linear.outputs, linear.inputs);
    if (!fault.empty())
      throw Error(ErrorCode::bad_input, fmt::format("{}: tensor \"{}\" has {}", recipe.name, linear.tensor, fault));
  }
}

// A scale search weighs whole groups of inputs, so they all have to be of one size.
void check_groups(const std::vector<LinearShape>& block, const QuantizeSpec& recipe) {
  for (const LinearShape& linear : block)
    if (recipe.group_size > 0 && linear.inputs % static_cast<std::uint32_t>(recipe.group_size) != 0)
      throw Error(ErrorCode::bad_input,
                  fmt::format("{}: tensor \"{}\" has {} inputs, which groups of {} do not divide; choose a \"groupSize\" that "
                              "divides them, or -1 (a whole row)",
                              recipe.name, linear.tensor, linear.inputs, recipe.group_size));
}

}  // namespace

Plan plan_job(const JobSpec& job) {
  Plan plan;
  plan.config = is_synthetic(job.model) ? parse_synthetic_model(job.model).config : read_model_config(job.model);
  const StoredModel model(job.model);
  for (const NamedShape& outer : outer_tensors(plan.config)) plan.outer_bytes += model.bytes(outer.name, outer.shape);

  for (std::uint32_t layer = 0; layer < plan.config.layers; ++layer) {
    for (const BlockVector& vector : block_vectors(plan.config, layer))
      plan.outer_bytes += model.bytes(vector.tensor, {vector.size});
    for (const LinearShape& linear : block_linears(plan.config, layer)) {
      plan.linear_source_bytes += model.bytes(linear.tensor, {linear.outputs, linear.inputs});
      plan.linear_weights += std::uint64_t{linear.outputs} * linear.inputs;
    }
  }

  const std::vector<LinearShape> block = block_linears(plan.config, 0);
  for (const QuantizeSpec& recipe : artifact_recipes(job)) {
    ArtifactPlan& artifact = plan.artifacts.emplace_back();
    artifact.recipe = recipe;
    if (recipe.method == Method::aqlm) check_codebooks(block, recipe);
    if (recipe.method == Method::awq) check_groups(block, recipe);
    if (needs_calibration(recipe))
      plan.calibration_tokens = std::uint64_t{job.calibration.sequences} * job.calibration.length;
    std::uint64_t linear_bytes = plan.linear_source_bytes;
    if (recipe.budget_gib > 0) {
      linear_bytes = budgeted_bytes(recipe, block, plan.config.layers, plan.outer_bytes, job.model);
      for (const LinearShape& linear : block) artifact.tiles += std::uint64_t{tile_count(linear)} * plan.config.layers;
    } else if (recipe.method != Method::none) {
      linear_bytes = 0;
      for (const LinearShape& linear : block) {
        linear_bytes += packed_linear_bytes(linear, recipe) * plan.config.layers;
        artifact.tiles += std::uint64_t{tile_count(linear)} * plan.config.layers;
      }
    }
    artifact.artifact_bytes = linear_bytes + plan.outer_bytes;
    artifact.bits_per_weight =
        8.0 * static_cast<double>(linear_bytes) / static_cast<double>(plan.linear_weights);
    plan.store_bytes += linear_bytes;
  }
  plan.store_bytes += plan.outer_bytes;  // the same chunks for every artifact of one model

  return plan;
}

Digest model_source_digest(const std::string& model_dir) {
  if (is_synthetic(model_dir)) return synthetic_source_digest(parse_synthetic_model(model_dir));
  std::set<fs::path> files;
  for (const auto& [name, location] : locate_tensors(model_dir)) files.insert(location.file);
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
                           "generation_config.json", "special_tokens_map.json"})
    if (fs::is_regular_file(fs::path(model_dir) / name)) files.insert(fs::path(model_dir) / name);
  Hasher hasher;
  for (const fs::path& file : files) {
    const std::string name = file.filename().string();
    hasher.update_u64(name.size()).update(name);
    hasher.update(sha256_file(file).span());
  }
  return hasher.finish();
}

}  // namespace quench::coordinator
