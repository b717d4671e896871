#include "coordinator/export/gguf_metadata.h"

#include <bit>
#include <nlohmann/json.hpp>

#include "coordinator/export/carried_files.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

using nlohmann::json;

constexpr std::uint32_t kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kText = 8, kArray = 9;
constexpr std::int32_t kNormalToken = 1, kControlToken = 3, kUserDefinedToken = 4, kUnusedToken = 5;

[[noreturn]] void refuse_tokenizer(const std::string& why) {
  throw Error(ErrorCode::bad_input, "tokenizer.json " + why +
                                        "; GGUF is written with GPT-2's byte-level BPE only: choose --format fp16, which "
                                        "llama.cpp's own converter reads with any tokenizer that it knows");
}

void check_tokenizer(const json& tokenizer) {
  const json model = tokenizer.value("model", json::object());
  if (model.value("type", "") != "BPE" || model.value("byte_fallback", false) || model.value("ignore_merges", false))
    refuse_tokenizer("is not a plain BPE");
  if (!tokenizer.value("normalizer", json()).is_null()) refuse_tokenizer("has a normalizer");
  const json before = tokenizer.value("pre_tokenizer", json::object());
  if (!before.is_object() || before.value("type", "") != "ByteLevel" || !before.value("use_regex", true) ||
      before.value("add_prefix_space", true))
    refuse_tokenizer("does not split text as GPT-2's does");
}

}  // namespace

void GgufFields::u32(std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) bytes_.push_back(static_cast<std::uint8_t>(value >> shift));
}

void GgufFields::u64(std::uint64_t value) {
  u32(static_cast<std::uint32_t>(value));
  u32(static_cast<std::uint32_t>(value >> 32));
}

void GgufFields::text(std::string_view value) {
  u64(value.size());
  bytes_.insert(bytes_.end(), value.begin(), value.end());
}

void GgufMetadata::key(std::string_view name, std::uint32_t type) {
  fields_.text(name);
  fields_.u32(type);
  ++count_;
}

void GgufMetadata::put_u32(std::string_view name, std::uint32_t value) {
  key(name, kU32);
  fields_.u32(value);
}

void GgufMetadata::put_f32(std::string_view name, float value) {
  key(name, kF32);
  fields_.u32(std::bit_cast<std::uint32_t>(value));
}

void GgufMetadata::put_bool(std::string_view name, bool value) {
  key(name, kBool);
  fields_.byte(value ? 1 : 0);
}

void GgufMetadata::put_text(std::string_view name, std::string_view value) {
  key(name, kText);
  fields_.text(value);
}

void GgufMetadata::put_texts(std::string_view name, const std::vector<std::string>& values) {
  key(name, kArray);
  fields_.u32(kText);
  fields_.u64(values.size());
  for (const std::string& value : values) fields_.text(value);
}

void GgufMetadata::put_i32s(std::string_view name, const std::vector<std::int32_t>& values) {
  key(name, kArray);
  fields_.u32(kI32);
  fields_.u64(values.size());
  for (const std::int32_t value : values) fields_.u32(static_cast<std::uint32_t>(value));
}

void put_tokenizer(const ArtifactStore& store, const Manifest& manifest, const ModelConfig& config, GgufMetadata& metadata) {
  const std::string text = carried_text(store, manifest, "tokenizer.json");
  if (text.empty()) refuse_tokenizer("is not among the artifact's files");
  const json tokenizer = json::parse(text, nullptr, false);
  if (!tokenizer.is_object()) throw Error(ErrorCode::corrupt, "the artifact's tokenizer.json is not a JSON object");
  try {
    check_tokenizer(tokenizer);
    // Rows of the embedding without a token have a name and are never chosen.
    std::vector<std::string> tokens(config.vocab_size);
    std::vector<std::int32_t> types(config.vocab_size, kUnusedToken);
    for (std::uint32_t id = 0; id < config.vocab_size; ++id) tokens[id] = "[PAD" + std::to_string(id) + "]";
    const auto name = [&](std::uint64_t id, const std::string& token, std::int32_t type) {
      if (id >= config.vocab_size) refuse_tokenizer("has the token " + std::to_string(id) + " beyond the vocabulary");
      tokens[id] = token;
      types[id] = type;
    };
    for (const auto& [token, id] : tokenizer.at("model").at("vocab").items()) name(id.get<std::uint64_t>(), token, kNormalToken);
    if (tokenizer.contains("added_tokens"))
      for (const json& added : tokenizer.at("added_tokens"))
        name(added.at("id").get<std::uint64_t>(), added.at("content").get<std::string>(),
             added.value("special", false) ? kControlToken : kUserDefinedToken);
    std::vector<std::string> merges;
    for (const json& merge : tokenizer.at("model").at("merges"))
      merges.push_back(merge.is_string() ? merge.get<std::string>()
                                         : merge.at(0).get<std::string>() + " " + merge.at(1).get<std::string>());
    metadata.put_text("tokenizer.ggml.model", "gpt2");
    metadata.put_text("tokenizer.ggml.pre", "gpt-2");
    metadata.put_texts("tokenizer.ggml.tokens", tokens);
    metadata.put_i32s("tokenizer.ggml.token_type", types);
    metadata.put_texts("tokenizer.ggml.merges", merges);
  } catch (const json::exception& error) {
    refuse_tokenizer(std::string("is not as tokenizers writes it (") + error.what() + ")");
  }
  if (config.bos_id >= 0) metadata.put_u32("tokenizer.ggml.bos_token_id", static_cast<std::uint32_t>(config.bos_id));
  if (!config.eos_ids.empty()) metadata.put_u32("tokenizer.ggml.eos_token_id", static_cast<std::uint32_t>(config.eos_ids.front()));
  const json settings = json::parse(carried_text(store, manifest, "tokenizer_config.json"), nullptr, false);
  const bool add_bos = settings.is_object() && settings.contains("add_bos_token") && settings["add_bos_token"] == true;
  metadata.put_bool("tokenizer.ggml.add_bos_token", add_bos);
}

}  // namespace quench::coordinator
