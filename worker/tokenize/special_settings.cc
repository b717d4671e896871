#include "worker/tokenize/special_settings.h"

#include "schemas/error.h"
#include "worker/tokenize/bpe_model.h"
#include "worker/tokenize/strict_json.h"

namespace quench::worker {
namespace {

// tokenizer_config.json may hold a chat template and hundreds of added tokens; 16 MiB is ample.
constexpr std::uintmax_t kSettingsBytesMax = 16u << 20;

// A token is written as "<s>" or as {"content": "<s>", …}.
void read_token(const JsonNode& root, const char* key, std::optional<std::string>& token) {
  if (token || !root.has(key) || root.get(key).is_null()) return;
  const JsonNode node = root.get(key);
  token = node.is_object() ? node.get("content").as_string() : node.as_string();
}

// An id is written as 2 or, when there are several, as [2, 32000]: the first is the usual one.
void read_id(const JsonNode& root, const char* key, std::optional<TokenId>& id) {
  if (id || !root.has(key) || root.get(key).is_null()) return;
  JsonNode node = root.get(key);
  if (node.is_array()) {
    if (node.size() == 0) return;
    node = node.at(0);
  }
  // Some configurations say -1 for "none".
  const auto value = static_cast<TokenId>(node.as_integer(-1, kVocabularyMax - 1));
  if (value >= 0) id = value;
}

void read_flag(const JsonNode& root, const char* key, std::optional<bool>& flag) {
  if (root.has(key) && !root.get(key).is_null()) flag = root.get(key).as_bool();
}

}  // namespace

SpecialSettings read_special_settings(const std::filesystem::path& model_dir) {
  SpecialSettings settings;
  const auto read_file = [&](const char* name, auto&& take) {
    const std::filesystem::path path = model_dir / name;
    if (!std::filesystem::exists(path)) return;
    const nlohmann::json document = read_strict_json(path, kSettingsBytesMax);
    in_context(path.string(), [&] {
      const JsonNode root(document, "");
      root.expect_object();
      take(root);
    });
  };
  const auto take_tokens = [&](const JsonNode& root) {
    read_token(root, "bos_token", settings.bos_token);
    read_token(root, "eos_token", settings.eos_token);
  };
  const auto take_ids = [&](const JsonNode& root) {
    read_id(root, "bos_token_id", settings.bos_id);
    read_id(root, "eos_token_id", settings.eos_id);
  };
  read_file("tokenizer_config.json", [&](const JsonNode& root) {
    take_tokens(root);
    read_flag(root, "add_bos_token", settings.add_bos);
    read_flag(root, "add_eos_token", settings.add_eos);
  });
  read_file("special_tokens_map.json", take_tokens);
  read_file("generation_config.json", take_ids);
  read_file("config.json", take_ids);
  return settings;
}

}  // namespace quench::worker
