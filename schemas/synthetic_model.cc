#include "schemas/synthetic_model.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "schemas/error.h"
#include "schemas/nearest_name.h"

namespace quench {
namespace {

constexpr std::string_view kPrefix = "synthetic:";
// Of the rule by which weights follow from name, shape and seed (worker/random_model.cc).
constexpr std::uint64_t kWeightsVersion = 1;

// What may be given another value, in canonical order.
enum Size { kLayers, kHidden, kIntermediate, kHeads, kKvHeads, kVocabulary, kPositions, kSeed, kSizes };
constexpr std::array<std::string_view, kSizes> kSizeNames = {"layers",  "hidden",     "intermediate", "heads",
                                                             "kvHeads", "vocabulary", "positions",    "seed"};

struct Shape {
  std::string_view name;
  std::array<std::uint64_t, kSizes> sizes;
  std::string_view rope;  // its keys in config.json
  std::string_view epsilon;
};

constexpr std::string_view kCodeLlamaRope = R"("rope_theta": 1000000)";
constexpr std::string_view kDeepSeekRope =
    R"("rope_theta": 100000, "rope_scaling": {"type": "linear", "factor": 4.0})";

// As the config.json of each published model says.
constexpr Shape kShapes[] = {
    {"codellama-7b", {32, 4096, 11'008, 32, 32, 32'016, 16'384, 0}, kCodeLlamaRope, "1e-05"},
    {"codellama-13b", {40, 5120, 13'824, 40, 40, 32'016, 16'384, 0}, kCodeLlamaRope, "1e-05"},
    {"codellama-34b", {48, 8192, 22'016, 64, 8, 32'000, 16'384, 0}, kCodeLlamaRope, "1e-05"},
    {"deepseek-coder-1.3b", {24, 2048, 5504, 16, 16, 32'256, 16'384, 0}, kDeepSeekRope, "1e-06"},
    {"deepseek-coder-6.7b", {32, 4096, 11'008, 32, 32, 32'256, 16'384, 0}, kDeepSeekRope, "1e-06"},
    {"deepseek-coder-33b", {62, 7168, 19'200, 56, 8, 32'256, 16'384, 0}, kDeepSeekRope, "1e-06"},
};

std::vector<std::string> size_names() { return {kSizeNames.begin(), kSizeNames.end()}; }

const Shape& shape_named(std::string_view name) {
  for (const Shape& shape : kShapes)
    if (shape.name == name) return shape;
  throw Error(ErrorCode::bad_input, "unknown shape \"" + std::string(name.substr(0, 60)) + "\"" +
                                        known_names(name, synthetic_shapes()));
}

void set_size(std::string_view word, std::array<std::uint64_t, kSizes>& sizes) {
  const std::size_t equals = word.find('=');
  const std::string_view key = word.substr(0, equals);
  const auto found = std::find(kSizeNames.begin(), kSizeNames.end(), key);
  if (equals == std::string_view::npos || found == kSizeNames.end())
    throw Error(ErrorCode::bad_input, "\"" + std::string(word.substr(0, 60)) + "\" gives no size; expected KEY=NUMBER" +
                                          known_names(key, size_names()));
  const std::string_view text = word.substr(equals + 1);
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size())
    throw Error(ErrorCode::bad_input, "\"" + std::string(word.substr(0, 60)) + "\": expected a whole number after the =");
  sizes[static_cast<std::size_t>(found - kSizeNames.begin())] = value;
}

std::string config_json(const Shape& shape, const std::array<std::uint64_t, kSizes>& sizes) {
  const auto number = [&](const char* key, Size size) {
    return std::string("  \"") + key + "\": " + std::to_string(sizes[size]) + ",\n";
  };
  return "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n  \"model_type\": \"llama\",\n  \"hidden_act\": \"silu\",\n" +
         number("num_hidden_layers", kLayers) + number("hidden_size", kHidden) +
         number("intermediate_size", kIntermediate) + number("num_attention_heads", kHeads) +
         number("num_key_value_heads", kKvHeads) + number("vocab_size", kVocabulary) +
         number("max_position_embeddings", kPositions) + "  \"rms_norm_eps\": " + std::string(shape.epsilon) + ",\n  " +
         std::string(shape.rope) + ",\n  \"tie_word_embeddings\": false,\n  \"torch_dtype\": \"bfloat16\"\n}\n";
}

}  // namespace

bool is_synthetic(std::string_view model) { return model.starts_with(kPrefix); }

std::vector<std::string> synthetic_shapes() {
  std::vector<std::string> names;
  for (const Shape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

SyntheticModel parse_synthetic_model(std::string_view text) {
  return in_context("model \"" + std::string(text.substr(0, 200)) + "\"", [&] {
    QUENCH_CHECK(is_synthetic(text), std::string(text));
    std::string_view rest = text.substr(kPrefix.size());
    const auto next_word = [&rest] {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      const std::string_view word = rest.substr(0, comma);
      rest.remove_prefix(std::min(comma + 1, rest.size()));
      return word;
    };
    const Shape& shape = shape_named(next_word());
    auto sizes = shape.sizes;
    while (!rest.empty()) set_size(next_word(), sizes);

    SyntheticModel model;
    model.name = std::string(kPrefix) + std::string(shape.name);
    for (std::size_t size = 0; size < kSizes; ++size)
      if (sizes[size] != shape.sizes[size])
        model.name.append(",").append(kSizeNames[size]).append("=").append(std::to_string(sizes[size]));
    model.seed = sizes[kSeed];
    model.config_json = config_json(shape, sizes);
    model.config = parse_model_config(model.config_json, "its config.json");
    return model;
  });
}

Digest synthetic_source_digest(const SyntheticModel& model) {
  return Hasher()
      .update_u64(kWeightsVersion)
      .update_u64(model.name.size())
      .update(model.name)
      .update_u64(model.config_json.size())
      .update(model.config_json)
      .finish();
}

}  // namespace quench
