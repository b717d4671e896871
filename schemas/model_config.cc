#include "schemas/model_config.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "schemas/error.h"
#include "schemas/json_document.h"
#include "schemas/packed_layout.h"
#include "schemas/small_file.h"

namespace quench {
namespace {

constexpr std::size_t kConfigBytesMax = 1 << 20;
constexpr std::size_t kConfigValuesMax = 300'000;  // vocabularies' label maps included
constexpr std::size_t kEosIdsMax = 64;

// Twice what the largest Llama models have; products of any two stay below 2^48.
constexpr std::uint32_t kWidthMax = 1 << 18;
constexpr std::uint32_t kLayersMax = 1024;
constexpr std::uint32_t kHeadsMax = 4096;
constexpr std::uint32_t kHeadDimMax = 4096;
constexpr std::uint32_t kVocabularyMax = 1 << 21;
constexpr std::uint32_t kPositionsMax = 1 << 28;

[[noreturn]] void wrong(const std::string& key, const std::string& what) {
  throw Error(ErrorCode::bad_input, "\"" + key + "\": " + what);
}

// Reads keys of one JSON object; a null counts as absent, as it does in transformers.
class Keys {
 public:
  Keys(const JsonValue& object, std::string prefix) : object_(object), prefix_(std::move(prefix)) {}

  std::string path(const std::string& key) const { return prefix_ + key; }

  const JsonValue* find(const std::string& key) const {
    const JsonValue* value = object_.find(key);
    return value == nullptr || value->as<std::nullptr_t>() ? nullptr : value;
  }

  std::uint32_t count(const std::string& key, std::uint32_t max) const {
    const JsonValue* value = find(key);
    if (value == nullptr) wrong(path(key), "missing; expected an integer from 1 to " + std::to_string(max));
    const auto* number = value->as<std::uint64_t>();
    if (number == nullptr || *number < 1 || *number > max)
      wrong(path(key), "found " + value->found() + "; expected an integer from 1 to " + std::to_string(max));
    return static_cast<std::uint32_t>(*number);
  }
  std::uint32_t count_or(const std::string& key, std::uint32_t max, std::uint32_t otherwise) const {
    return find(key) == nullptr ? otherwise : count(key, max);
  }

  // A finite number in [low, high].
  double number_or(const std::string& key, double low, double high, double otherwise) const {
    const JsonValue* value = find(key);
    if (value == nullptr) return otherwise;
    double number = std::numeric_limits<double>::quiet_NaN();
    if (const auto* real = value->as<double>()) number = *real;
    if (const auto* integer = value->as<std::uint64_t>()) number = static_cast<double>(*integer);
    if (!(number >= low && number <= high)) {
      char range[80];
      std::snprintf(range, sizeof range, "; expected a number from %g to %g", low, high);
      wrong(path(key), "found " + value->found() + range);
    }
    return number;
  }

  bool flag_or(const std::string& key, bool otherwise) const {
    const JsonValue* value = find(key);
    if (value == nullptr) return otherwise;
    if (const auto* flag = value->as<bool>()) return *flag;
    wrong(path(key), "found " + value->found() + "; expected true or false");
  }

  std::string text_or(const std::string& key, const std::string& otherwise) const {
    const JsonValue* value = find(key);
    if (value == nullptr) return otherwise;
    if (const auto* text = value->as<std::string>()) return *text;
    wrong(path(key), "found " + value->found() + "; expected a string");
  }

 private:
  const JsonValue& object_;
  std::string prefix_;
};

struct Family {
  ModelFamily family;
  const char* architecture;
  const char* model_type;
};
constexpr Family kFamilies[] = {{ModelFamily::llama, "LlamaForCausalLM", "llama"},
                                {ModelFamily::qwen2, "Qwen2ForCausalLM", "qwen2"},
                                {ModelFamily::starcoder2, "Starcoder2ForCausalLM", "starcoder2"}};

// "architectures" decides; "model_type" may not contradict it, and decides where there are none.
ModelFamily family_of(const Keys& keys) {
  const std::string remedy =
      "; Quench runs LlamaForCausalLM (CodeLlama, DeepSeek-Coder), Qwen2ForCausalLM (Qwen2.5-Coder) and Starcoder2ForCausalLM";
  const std::string model_type = keys.text_or("model_type", "");
  if (const JsonValue* architectures = keys.find("architectures")) {
    const auto* list = architectures->as<JsonValue::List>();
    if (list == nullptr)
      wrong("architectures", "found " + architectures->found() + "; expected a list of names");
    std::string names;
    for (const JsonValue& name : *list) {
      if (const auto* text = name.as<std::string>())
        for (const Family& family : kFamilies) {
          if (*text != family.architecture) continue;
          if (!model_type.empty() && model_type != family.model_type)
            wrong("model_type", "found \"" + model_type + "\", but \"architectures\" says " + family.architecture +
                                    "; expected \"" + family.model_type + "\"");
          return family.family;
        }
      if (names.size() < 200) names += (names.empty() ? "" : ", ") + name.found();
    }
    if (!list->empty()) wrong("architectures", "found " + names + remedy);
  }
  for (const Family& family : kFamilies)
    if (model_type == family.model_type) return family.family;
  wrong("model_type",
        (model_type.empty() ? "missing, and no \"architectures\"" : "found \"" + model_type + "\"") + remedy);
}

// rope_scaling of transformers 4 ("type" before "rope_type") or rope_parameters of transformers 5.
void read_rope(const Keys& keys, ModelConfig& config) {
  config.rope_theta = keys.number_or("rope_theta", 1.0, 1e12, config.rope_theta);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const JsonValue* value = keys.find(key);
    if (value == nullptr) continue;
    if (value->as<JsonValue::Object>() == nullptr)
      wrong(key, "found " + value->found() + "; expected an object");
    const Keys rope(*value, std::string(key) + ".");
    const std::string type = rope.text_or("rope_type", rope.text_or("type", "default"));
    config.rope_theta = rope.number_or("rope_theta", 1.0, 1e12, config.rope_theta);
    if (type == "linear") {
      if (rope.find("factor") == nullptr) wrong(rope.path("factor"), "missing; linear scaling needs it");
      config.rope_linear_factor = rope.number_or("factor", 1.0, 4096.0, 1.0);
    } else if (type != "default") {
      wrong(rope.path(rope.find("rope_type") != nullptr ? "rope_type" : "type"),
            "found \"" + type + "\"; known: default, linear");
    }
    if (rope.number_or("partial_rotary_factor", 0.0, 1.0, 1.0) != 1.0)
      wrong(rope.path("partial_rotary_factor"),
            "rotating a part of each head is not supported; expected 1.0");
  }
}

std::int32_t token_id(const std::string& key, const JsonValue& value, std::uint32_t vocab_size) {
  const auto* id = value.as<std::uint64_t>();
  if (id == nullptr || *id >= vocab_size)
    wrong(key,
          "found " + value.found() + "; expected a token id from 0 to " + std::to_string(vocab_size - 1));
  return static_cast<std::int32_t>(*id);
}

void read_special_tokens(const Keys& keys, ModelConfig& config) {
  if (const JsonValue* bos = keys.find("bos_token_id"))
    config.bos_id = token_id("bos_token_id", *bos, config.vocab_size);
  const JsonValue* eos = keys.find("eos_token_id");
  if (eos == nullptr) return;
  if (const auto* list = eos->as<JsonValue::List>()) {
    if (list->size() > kEosIdsMax) wrong("eos_token_id", "more than " + std::to_string(kEosIdsMax) + " ids");
    for (const JsonValue& id : *list)
      config.eos_ids.push_back(token_id("eos_token_id", id, config.vocab_size));
  } else {
    config.eos_ids.push_back(token_id("eos_token_id", *eos, config.vocab_size));
  }
}

void expect_text(const Keys& keys, const std::string& key, const std::string& expected) {
  if (const std::string found = keys.text_or(key, expected); found != expected)
    wrong(key, "found \"" + found + "\"; only " + expected + " is supported");
}

void check_unsupported(const Keys& keys) {
  if (keys.number_or("pretraining_tp", 0, 65536, 1) > 1)
    wrong("pretraining_tp", "found more than 1; slices of linears summed apart are not supported");
  if (keys.find("quantization_config") != nullptr)
    wrong("quantization_config",
          "this model is quantized already; give the directory of the original weights");
}

// A list of each layer's attention, which transformers 4.5x and later write.
void check_layer_types(const Keys& keys, const std::string& expected) {
  const JsonValue* types = keys.find("layer_types");
  if (types == nullptr) return;
  const auto* list = types->as<JsonValue::List>();
  if (list == nullptr) wrong("layer_types", "found " + types->found() + "; expected a list of names");
  for (const JsonValue& type : *list)
    if (const auto* text = type.as<std::string>(); text == nullptr || *text != expected)
      wrong("layer_types", "found " + type.found() + "; expected \"" + expected + "\" for every layer");
}

void read_llama(const Keys& keys, ModelConfig& config) {
  for (const char* bias : {"attention_bias", "mlp_bias"})
    if (keys.flag_or(bias, false)) wrong(bias, "found true; linears with a bias are not supported in Llama models");
  expect_text(keys, "hidden_act", "silu");
  config.norm_eps = keys.number_or("rms_norm_eps", 0.0, 1.0, 1e-6);
  config.tied_head = keys.flag_or("tie_word_embeddings", false);
}

void read_qwen2(const Keys& keys, ModelConfig& config) {
  expect_text(keys, "hidden_act", "silu");
  if (keys.flag_or("use_sliding_window", false))
    wrong("use_sliding_window", "found true; windows in some layers of a Qwen2 model are not supported (no Qwen2.5-Coder has them)");
  check_layer_types(keys, "full_attention");
  config.norm_eps = keys.number_or("rms_norm_eps", 0.0, 1.0, 1e-6);
  config.tied_head = keys.flag_or("tie_word_embeddings", false);
  config.qkv_bias = true;
}

void read_starcoder2(const Keys& keys, ModelConfig& config) {
  expect_text(keys, "hidden_act", "gelu_pytorch_tanh");
  expect_text(keys, "norm_type", "layer_norm");
  expect_text(keys, "mlp_type", "default");
  config.norm_eps = keys.number_or("norm_epsilon", 0.0, 1.0, 1e-5);
  config.tied_head = keys.flag_or("tie_word_embeddings", true);
  config.layer_norm = true;
  config.gated_mlp = false;
  config.qkv_bias = config.output_bias = config.mlp_bias = keys.flag_or("use_bias", true);
  if (keys.find("sliding_window") != nullptr) config.sliding_window = keys.count("sliding_window", kPositionsMax);
  if (config.sliding_window > 0) check_layer_types(keys, "sliding_attention");
}

ModelConfig config_of(const JsonValue& root) {
  if (root.as<JsonValue::Object>() == nullptr)
    throw Error(ErrorCode::bad_input, "found " + root.found() + "; expected an object");
  const Keys keys(root, "");
  ModelConfig config;
  config.family = family_of(keys);
  check_unsupported(keys);

  config.hidden_size = keys.count("hidden_size", kWidthMax);
  config.intermediate_size = keys.count("intermediate_size", kWidthMax);
  config.layers = keys.count("num_hidden_layers", kLayersMax);
  config.heads = keys.count("num_attention_heads", kHeadsMax);
  config.kv_heads = keys.count_or("num_key_value_heads", kHeadsMax, config.heads);
  config.vocab_size = keys.count("vocab_size", kVocabularyMax);
  config.max_positions = keys.count_or("max_position_embeddings", kPositionsMax, 2048);
  if (config.heads % config.kv_heads != 0)
    wrong("num_key_value_heads", "found " + std::to_string(config.kv_heads) + ", which does not divide the " +
                                     std::to_string(config.heads) + " of num_attention_heads");
  if (keys.find("head_dim") == nullptr && config.hidden_size % config.heads != 0)
    wrong("hidden_size", "found " + std::to_string(config.hidden_size) + ", which the " +
                             std::to_string(config.heads) +
                             " of num_attention_heads do not divide; expected a \"head_dim\" in that case");
  config.head_dim = keys.count_or("head_dim", kHeadDimMax, config.hidden_size / config.heads);
  if (config.head_dim == 0 || config.head_dim % 2 != 0)
    wrong("head_dim", "found " + std::to_string(config.head_dim) + "; rotary positions need an even size");
  if (std::uint64_t{config.heads} * config.head_dim > kWidthMax)
    wrong("head_dim", std::to_string(config.heads) + " heads of " + std::to_string(config.head_dim) +
                          " are wider than " + std::to_string(kWidthMax));
  switch (config.family) {
    case ModelFamily::llama:
      read_llama(keys, config);
      break;
    case ModelFamily::qwen2:
      read_qwen2(keys, config);
      break;
    case ModelFamily::starcoder2:
      read_starcoder2(keys, config);
      break;
  }
  read_rope(keys, config);
  read_special_tokens(keys, config);
  return config;
}

std::string layer_prefix(std::uint32_t layer) { return "model.layers." + std::to_string(layer) + "."; }

}  // namespace

ModelConfig parse_model_config(std::string_view json, const std::string& origin) {
  return in_context(origin, [&] {
    if (json.size() > kConfigBytesMax)
      throw Error(ErrorCode::bad_input, "larger than " + std::to_string(kConfigBytesMax) + " bytes");
    return config_of(parse_strict_json(json, kConfigValuesMax));
  });
}

ModelConfig read_model_config(const std::filesystem::path& model_dir) {
  std::error_code ignored;  // unreadable counts as absent
  if (!std::filesystem::is_directory(model_dir, ignored))
    throw Error(ErrorCode::bad_input, model_dir.string() +
                                          ": not a directory; expected a Hugging Face model "
                                          "directory with config.json and model.safetensors");
  const std::filesystem::path file = model_dir / "config.json";
  return parse_model_config(read_small_file(file, kConfigBytesMax), file.string());
}

std::vector<LinearShape> block_linears(const ModelConfig& config, std::uint32_t layer) {
  const std::uint32_t attention = config.heads * config.head_dim;
  const std::uint32_t kv = config.kv_heads * config.head_dim;
  const std::uint32_t hidden = config.hidden_size, wide = config.intermediate_size;
  std::vector<LinearShape> linears = {
      {"", "self_attn.q_proj", attention, hidden, 0, kQ},
      {"", "self_attn.k_proj", kv, hidden, 0, kK},
      {"", "self_attn.v_proj", kv, hidden, 0, kV},
      {"", "self_attn.o_proj", hidden, attention, 1, kO},
  };
  if (config.gated_mlp) {
    linears.push_back({"", "mlp.gate_proj", wide, hidden, 2, kGate});
    linears.push_back({"", "mlp.up_proj", wide, hidden, 2, kUp});
    linears.push_back({"", "mlp.down_proj", hidden, wide, 3, kDown});
  } else {
    linears.push_back({"", "mlp.c_fc", wide, hidden, 2, kUp});
    linears.push_back({"", "mlp.c_proj", hidden, wide, 3, kDown});
  }
  for (LinearShape& linear : linears) linear.tensor = layer_prefix(layer) + linear.short_name + ".weight";
  return linears;
}

std::vector<BlockVector> block_vectors(const ModelConfig& config, std::uint32_t layer) {
  std::vector<BlockVector> vectors;
  const auto add_norm = [&](const char* name, BlockVector::Part weight, BlockVector::Part bias) {
    vectors.push_back({layer_prefix(layer) + name + ".weight", config.hidden_size, weight});
    if (config.layer_norm) vectors.push_back({layer_prefix(layer) + name + ".bias", config.hidden_size, bias});
  };
  add_norm("input_layernorm", BlockVector::attention_norm, BlockVector::attention_norm_bias);
  add_norm("post_attention_layernorm", BlockVector::mlp_norm, BlockVector::mlp_norm_bias);
  for (const LinearShape& linear : block_linears(config, layer)) {
    const bool has_bias = linear.stage == 0 ? config.qkv_bias : linear.stage == 1 ? config.output_bias : config.mlp_bias;
    if (has_bias)
      vectors.push_back({layer_prefix(layer) + linear.short_name + ".bias", linear.outputs, BlockVector::linear_bias, linear.role});
  }
  return vectors;
}

std::string_view to_string(ModelFamily family) {
  for (const Family& known : kFamilies)
    if (known.family == family) return known.model_type;
  return "unknown";
}

std::vector<NamedShape> outer_tensors(const ModelConfig& config) {
  std::vector<NamedShape> tensors = {{"model.embed_tokens.weight", {config.vocab_size, config.hidden_size}},
                                     {"model.norm.weight", {config.hidden_size}}};
  if (config.layer_norm) tensors.push_back({"model.norm.bias", {config.hidden_size}});
  if (!config.tied_head) tensors.push_back({"lm_head.weight", {config.vocab_size, config.hidden_size}});
  return tensors;
}

std::uint32_t tile_rows(std::uint32_t outputs, std::uint32_t inputs) {
  // At 8 bits and the smallest group size, 1, a row takes K bytes of codes and 3 K of scales and zeros.
  constexpr std::uint64_t kTileBytesMax = 16ull << 20;
  constexpr std::uint32_t kTileRowsMax = 256;
  const std::uint64_t row_bytes = std::max<std::uint64_t>(1, std::uint64_t{inputs} * 4);
  const std::uint64_t by_bytes = kTileBytesMax / row_bytes / kPanelRows * kPanelRows;
  // Four tiles at least, so that four ranks share even a small matrix.
  const std::uint64_t by_share = std::uint64_t{outputs} / 4 / kPanelRows * kPanelRows;
  const std::uint64_t rows = std::min<std::uint64_t>({kTileRowsMax, by_bytes, by_share});
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(kPanelRows, rows));
}

std::uint32_t tile_count(const LinearShape& linear) {
  const std::uint32_t rows = tile_rows(linear.outputs, linear.inputs);
  return (linear.outputs + rows - 1) / rows;
}

std::uint32_t rows_of_tile(const LinearShape& linear, std::uint32_t tile) {
  const std::uint32_t rows = tile_rows(linear.outputs, linear.inputs);
  return std::min(rows, linear.outputs - tile * rows);
}

std::uint32_t rows_of_busiest_rank(const LinearShape& linear, std::uint32_t ranks) {
  const std::uint32_t tiles = (tile_count(linear) + ranks - 1) / ranks;
  return std::min(linear.outputs, tiles * tile_rows(linear.outputs, linear.inputs));
}

}  // namespace quench
