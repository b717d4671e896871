#include "coordinator/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "schemas/artifact.h"
#include "schemas/bit_budget.h"
#include "schemas/codec.h"
#include "schemas/error.h"
#include "schemas/safetensors.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// The stored bytes of a tensor which must be there with this shape, in a type the engine reads.
std::uint64_t required_bytes(const std::map<std::string, TensorLocation>& tensors, const std::string& name,
                             const std::vector<std::uint64_t>& shape, const std::string& model_dir) {
  const auto found = tensors.find(name);
  if (found == tensors.end())
    throw Error(ErrorCode::bad_input,
                fmt::format("{}: no tensor \"{}\", which config.json calls for with shape {}", model_dir,
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

std::uint64_t tile_count(const LinearShape& linear) {
  const std::uint32_t rows_per_tile = tile_rows(linear.outputs, linear.inputs);
  return (linear.outputs + rows_per_tile - 1) / rows_per_tile;
}

}  // namespace

Plan plan_job(const JobSpec& job) {
  Plan plan;
  plan.config = read_model_config(job.model);
  const std::map<std::string, TensorLocation> tensors = locate_tensors(job.model);
  for (const NamedShape& outer : outer_tensors(plan.config))
    plan.outer_bytes += required_bytes(tensors, outer.name, outer.shape, job.model);

  std::uint64_t linear_source_bytes = 0;
  for (std::uint32_t layer = 0; layer < plan.config.layers; ++layer) {
    for (const std::string& norm : block_norms(layer))
      plan.outer_bytes += required_bytes(tensors, norm, {plan.config.hidden_size}, job.model);
    for (const LinearShape& linear : block_linears(plan.config, layer)) {
      linear_source_bytes +=
          required_bytes(tensors, linear.tensor, {linear.outputs, linear.inputs}, job.model);
      plan.linear_weights += std::uint64_t{linear.outputs} * linear.inputs;
    }
  }

  const std::vector<LinearShape> block = block_linears(plan.config, 0);
  bool calibrated = false;
  for (const QuantizeSpec& recipe : artifact_recipes(job)) {
    ArtifactPlan& artifact = plan.artifacts.emplace_back();
    artifact.recipe = recipe;
    calibrated = calibrated || recipe.method == Method::gptq;
    std::uint64_t linear_bytes = linear_source_bytes;
    if (recipe.budget_gib > 0) {
      linear_bytes = budgeted_bytes(recipe, block, plan.config.layers, plan.outer_bytes, job.model);
      for (const LinearShape& linear : block) artifact.tiles += tile_count(linear) * plan.config.layers;
    } else if (recipe.method != Method::none) {
      linear_bytes = 0;
      for (const LinearShape& linear : block) {
        linear_bytes += packed_linear_bytes(linear, recipe) * plan.config.layers;
        artifact.tiles += tile_count(linear) * plan.config.layers;
      }
    }
    artifact.artifact_bytes = linear_bytes + plan.outer_bytes;
    artifact.bits_per_weight =
        8.0 * static_cast<double>(linear_bytes) / static_cast<double>(plan.linear_weights);
    plan.store_bytes += linear_bytes;
  }
  plan.store_bytes += plan.outer_bytes;  // the same chunks for every artifact of one model

  const std::uint64_t ranks = std::max<std::uint32_t>(job.ranks, 1);
  std::uint64_t block_weights = 0, inputs_max = 0, factor_bytes = 0;
  std::set<std::uint32_t> stages;
  for (const LinearShape& linear : block) {
    block_weights += std::uint64_t{linear.outputs} * linear.inputs;
    inputs_max = std::max<std::uint64_t>(inputs_max, linear.inputs);
    if (stages.insert(linear.stage).second)
      factor_bytes += std::uint64_t{linear.inputs} * linear.inputs / 2 * 4;
  }
  plan.memory_bytes_per_rank = block_weights * 4;
  if (calibrated) {
    plan.calibration_tokens = std::uint64_t{job.calibration.sequences} * job.calibration.length;
    const std::uint64_t own_tokens = (plan.calibration_tokens + ranks - 1) / ranks;
    plan.memory_bytes_per_rank += inputs_max * inputs_max / 2 * 8 + inputs_max * inputs_max / 2 * 4 +
                                  own_tokens * plan.config.hidden_size * 4 * 2 + own_tokens * inputs_max * 4;
    const std::uint64_t others = ranks - 1;
    // Each rank reads 1/ranks of the block and receives the rest; a ring moves (ranks-1)/ranks of a sum.
    plan.mpi_bytes_per_rank =
        plan.config.layers * others *
        (linear_source_bytes / plan.config.layers + factor_bytes * 2 + factor_bytes + block_weights) / ranks;
  }
  return plan;
}

std::string plan_to_json(const JobSpec& job, const Plan& plan) {
  using nlohmann::ordered_json;
  ordered_json out;
  out["job"] = {{"name", job.name}, {"model", job.model}, {"ranks", job.ranks}};
  out["blocks"] = plan.config.layers;
  out["linear_weights"] = plan.linear_weights;
  out["calibration_tokens"] = plan.calibration_tokens;
  out["memory_bytes_per_rank"] = plan.memory_bytes_per_rank;
  out["mpi_bytes_per_rank"] = plan.mpi_bytes_per_rank;
  out["store_bytes"] = plan.store_bytes;
  out["artifacts"] = ordered_json::array();
  for (const ArtifactPlan& artifact : plan.artifacts)
    out["artifacts"].push_back({{"name", artifact.recipe.name},
                                {"bytes", artifact.artifact_bytes},
                                {"bits_per_weight", artifact.bits_per_weight},
                                {"tiles", artifact.tiles}});
  // What the job asks for with every default and the protocol filled in.
  const ordered_json resolved = ordered_json::parse(job_to_json(job));
  if (!job.protocol.empty()) out["protocol"] = job.protocol;
  out["evaluate"] = resolved.at("evaluate");
  return out.dump(2);
}

std::string plan_to_text(const JobSpec& job, const Plan& plan) {
  constexpr double kMega = 1e6;
  std::string text =
      fmt::format("{}: {} blocks, {:.2f} M weights in linears, {} ranks\n", job.name, plan.config.layers,
                  static_cast<double>(plan.linear_weights) / 1e6, job.ranks);
  text += fmt::format("  memory per rank  {:10.1f} MB\n",
                      static_cast<double>(plan.memory_bytes_per_rank) / kMega);
  text += fmt::format("  MPI per rank     {:10.1f} MB for each calibrated artifact\n",
                      static_cast<double>(plan.mpi_bytes_per_rank) / kMega);
  text += fmt::format("  store            {:10.1f} MB\n\n", static_cast<double>(plan.store_bytes) / kMega);
  text += fmt::format("  {:<28} {:>10} {:>12} {:>8}\n", "artifact", "MB", "bits/weight", "tiles");
  for (const ArtifactPlan& artifact : plan.artifacts)
    text += fmt::format("  {:<28} {:>10.2f} {:>12.3f} {:>8}\n", artifact.recipe.name,
                        static_cast<double>(artifact.artifact_bytes) / kMega, artifact.bits_per_weight,
                        artifact.tiles);
  if (!job.evaluate.empty())
    text += "\n  evaluations" + (job.protocol.empty() ? std::string() : ", protocol " + job.protocol) + "\n";
  for (const EvaluateSpec& spec : job.evaluate) text += "    " + described(spec) + "\n";
  return text;
}

Digest model_source_digest(const std::string& model_dir) {
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
