#include "coordinator/export/gguf_tokenizer.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>

#include "coordinator/export/sentencepiece_file.h"
#include "schemas/digest.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

using nlohmann::json;

constexpr std::int32_t kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6;
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // ▁

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorCode::bad_input, "the tokenizer " + why + ", which llama.cpp does not do: choose --format fp16");
}

// What llama.cpp knows by a name: the steps of a pre-tokenizer, ByteLevel's own pattern being "gpt2" and its bare mapping
// "bytes". Patterns too long for a line stand as their SHA-256.
struct PreTokenizer {
  const char* name;
  std::vector<std::string> steps;
};

const std::vector<PreTokenizer>& known_pre_tokenizers() {
  static const std::string kIdeographs = "[一-龥ࠀ-一가-퟿]+";
  static const std::vector<PreTokenizer> kKnown = {
      {"gpt-2", {"gpt2"}},
      {"starcoder", {"digits", "gpt2"}},
      {"deepseek-coder", {"[\r\n]", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kIdeographs, "digits", "bytes"}},
      {"deepseek-llm",
       {"[\r\n]", "38fd0b5eb7e66ecf05e5e89dd0272208b64a6d60fa009c4ea1be70e7b7e739d5", R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)", R"(\s+$)",
        kIdeographs, "digits", "bytes"}},
      {"qwen2",
       {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)", "bytes"}},
      {"llama-bpe",
       {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
        "bytes"}},
  };
  return kKnown;
}

std::string step_of(const json& part) {
  const std::string type = part.value("type", "");
  if (type == "Digits" && part.value("individual_digits", false)) return "digits";
  if (type == "ByteLevel" && !part.value("add_prefix_space", true)) return part.value("use_regex", true) ? "gpt2" : "bytes";
  if (type == "Split" && part.value("behavior", "") == "Isolated" && !part.value("invert", false)) {
    const std::string pattern = part.at("pattern").value("Regex", "");
    return pattern.size() <= 200 ? pattern : sha256({reinterpret_cast<const std::uint8_t*>(pattern.data()), pattern.size()}).hex();
  }
  return "";
}

std::string pre_tokenizer_name(const json& tokenizer) {
  const json node = tokenizer.value("pre_tokenizer", json());
  std::vector<std::string> steps;
  if (node.is_object() && node.value("type", "") == "Sequence")
    for (const json& part : node.at("pretokenizers")) steps.push_back(step_of(part));
  else if (node.is_object())
    steps.push_back(step_of(node));
  for (const PreTokenizer& known : known_pre_tokenizers())
    if (steps == known.steps) return known.name;
  refuse("splits text by rules of its own (tokenizer.json: /pre_tokenizer)");
}

bool is_byte_token(const std::string& token) {
  return token.size() == 6 && token.starts_with("<0x") && token.ends_with('>') &&
         token.find_first_not_of("0123456789ABCDEF", 3) == 5;
}

struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<std::int32_t> kinds;
  std::vector<float> scores;

  explicit Vocabulary(std::uint32_t size) : tokens(size), kinds(size, kUnused), scores(size, 0) {
    // Rows of the embedding without a token have a name and are never chosen.
    for (std::uint32_t id = 0; id < size; ++id) tokens[id] = "[PAD" + std::to_string(id) + "]";
  }
  void name(std::uint64_t id, const std::string& token, std::int32_t kind) {
    if (id >= tokens.size())
      throw Error(ErrorCode::bad_input, "the tokenizer has the token " + std::to_string(id) + " and the model a vocabulary of " +
                                            std::to_string(tokens.size()) + ": choose --format fp16");
    tokens[id] = token;
    kinds[id] = kind;
  }
};

Vocabulary vocabulary_of(const json& tokenizer, std::uint32_t size, bool has_byte_tokens) {
  Vocabulary vocabulary(size);
  const json& model = tokenizer.at("model");
  for (const auto& [token, id] : model.at("vocab").items())
    vocabulary.name(id.get<std::uint64_t>(), token, has_byte_tokens && is_byte_token(token) ? kByte : kNormal);
  if (tokenizer.contains("added_tokens"))
    for (const json& added : tokenizer.at("added_tokens")) {
      const std::string content = added.at("content").get<std::string>();
      for (const char* flag : {"lstrip", "rstrip", "single_word"})
        if (added.value(flag, false)) refuse("has the token " + content + " with \"" + flag + "\"");
      const bool is_unknown = model.value("unk_token", json()) == json(content);
      const std::int32_t kind = added.value("special", false) ? kControl : kUserDefined;
      vocabulary.name(added.at("id").get<std::uint64_t>(), content, is_unknown && has_byte_tokens ? kUnknown : kind);
    }
  return vocabulary;
}

using Merge = std::pair<std::string, std::string>;

std::vector<Merge> merges_of(const json& model) {
  std::vector<Merge> merges;
  for (const json& merge : model.at("merges")) {
    if (merge.is_array()) {
      merges.emplace_back(merge.at(0).get<std::string>(), merge.at(1).get<std::string>());
      continue;
    }
    const std::string& text = merge.get_ref<const std::string&>();
    const std::size_t space = text.find(' ');
    if (space == std::string::npos) refuse("has a merge without a space");
    merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }
  return merges;
}

// SentencePiece joins the neighbours whose token scores highest, and any two whose text is a token. Merges in an order say
// the same if those with one result follow each other, and if no two tokens make a third without a merge.
void put_scores(const std::vector<Merge>& merges, Vocabulary& vocabulary) {
  std::unordered_map<std::string_view, std::size_t> ids;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id)
    if (vocabulary.kinds[id] != kUnused) ids.emplace(vocabulary.tokens[id], id);
  std::unordered_map<std::string, std::vector<std::size_t>> cuts;  // of a result, where its merges cut it
  float score = 0;
  std::string last;
  for (const auto& [left, right] : merges) {
    const std::string result = left + right;
    const auto id = ids.find(result);
    if (id == ids.end()) refuse("has a merge whose result " + result + " is no token");
    if (result != last) {
      if (cuts.contains(result)) refuse("has merges to " + result + " with others between them");
      vocabulary.scores[id->second] = score;
      score -= 1;
      last = result;
    }
    cuts[result].push_back(left.size());
  }
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string& token = vocabulary.tokens[id];
    if (vocabulary.kinds[id] == kUnused) continue;
    const auto known = cuts.find(token);
    for (std::size_t cut = 1; cut < token.size(); ++cut) {
      if (!ids.contains(std::string_view(token).substr(0, cut)) || !ids.contains(std::string_view(token).substr(cut))) continue;
      if (known == cuts.end() || std::find(known->second.begin(), known->second.end(), cut) == known->second.end())
        refuse("has no merge of " + token.substr(0, cut) + " and " + token.substr(cut) + " to the token that they make");
    }
  }
}

// Whether a text gets a space in front, which is all of its normalization that may be there.
bool adds_space_first(const json& tokenizer) {
  const json replace = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpaceMark}};
  const json prepend = {{"type", "Prepend"}, {"prepend", kSpaceMark}};
  const json normalizer = tokenizer.value("normalizer", json()), before = tokenizer.value("pre_tokenizer", json());
  if (before.is_null()) {
    if (normalizer == replace) return false;
    if (normalizer == json{{"type", "Sequence"}, {"normalizers", {prepend, replace}}}) return true;
  } else if (normalizer.is_null() && before.is_object() && before.value("type", "") == "Metaspace" &&
             before.value("replacement", "") == kSpaceMark && !before.value("split", true)) {
    return before.value("prepend_scheme", "always") != "never";
  }
  refuse("changes or splits text other than by marking its spaces (tokenizer.json: /normalizer, /pre_tokenizer)");
}

void check_bpe_normalizer(const json& tokenizer, const std::string& pre_tokenizer) {
  const json normalizer = tokenizer.value("normalizer", json());
  if (normalizer.is_null() || normalizer == json{{"type", "Sequence"}, {"normalizers", json::array()}}) return;
  if (normalizer == json{{"type", "NFC"}} && pre_tokenizer == "qwen2") return;
  refuse("changes characters (tokenizer.json: /normalizer)");
}

void put_vocabulary(const Vocabulary& vocabulary, GgufMetadata& metadata) {
  metadata.put_texts("tokenizer.ggml.tokens", vocabulary.tokens);
  metadata.put_i32s("tokenizer.ggml.token_type", vocabulary.kinds);
}

void put_sentencepiece(const Vocabulary& vocabulary, bool space_first, GgufMetadata& metadata) {
  metadata.put_text("tokenizer.ggml.model", "llama");
  metadata.put_text("tokenizer.ggml.pre", "default");
  put_vocabulary(vocabulary, metadata);
  metadata.put_f32s("tokenizer.ggml.scores", vocabulary.scores);
  metadata.put_bool("tokenizer.ggml.add_space_prefix", space_first);
  for (std::uint32_t id = 0; id < vocabulary.kinds.size(); ++id)
    if (vocabulary.kinds[id] == kUnknown) metadata.put_u32("tokenizer.ggml.unknown_token_id", id);
}

Vocabulary put_json_tokenizer(const json& tokenizer, const ModelConfig& config, GgufMetadata& metadata) {
  const json& model = tokenizer.at("model");
  // Older files do not name the type; those with merges are of it.
  if (model.value("type", "BPE") != "BPE" || !model.contains("merges")) refuse("is no BPE");
  if (!model.value("dropout", json()).is_null()) refuse("drops merges at random");
  const bool has_byte_tokens = model.value("byte_fallback", false);
  Vocabulary vocabulary = vocabulary_of(tokenizer, config.vocab_size, has_byte_tokens);
  const std::vector<Merge> merges = merges_of(model);
  if (has_byte_tokens) {
    if (model.value("ignore_merges", false)) refuse("ignores merges");
    const bool space_first = adds_space_first(tokenizer);
    put_scores(merges, vocabulary);
    put_sentencepiece(vocabulary, space_first, metadata);
    return vocabulary;
  }
  const std::string name = pre_tokenizer_name(tokenizer);
  check_bpe_normalizer(tokenizer, name);
  // llama.cpp takes a word that is a token as it is under this name alone.
  if (model.value("ignore_merges", false) != (name == "llama-bpe"))
    refuse(std::string(name == "llama-bpe" ? "does not ignore" : "ignores") + " merges (tokenizer.json: /model/ignore_merges)");
  metadata.put_text("tokenizer.ggml.model", "gpt2");
  metadata.put_text("tokenizer.ggml.pre", name);
  put_vocabulary(vocabulary, metadata);
  std::vector<std::string> texts;
  for (const auto& [left, right] : merges) texts.push_back(left + " " + right);
  metadata.put_texts("tokenizer.ggml.merges", texts);
  return vocabulary;
}

Vocabulary put_sentencepiece_file(const std::string& bytes, const ModelConfig& config, GgufMetadata& metadata) {
  const SentencePieceFile file = read_sentencepiece_file(bytes);
  if (!file.is_bpe) refuse("is a SentencePiece model of another kind than BPE");
  if (file.changes_characters || file.removes_extra_spaces) refuse("changes characters or removes spaces (its normalizer)");
  Vocabulary vocabulary(config.vocab_size);
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    vocabulary.name(id, file.pieces[id].text, file.pieces[id].kind);
    vocabulary.scores[id] = file.pieces[id].score;
  }
  put_sentencepiece(vocabulary, file.adds_space_first, metadata);
  return vocabulary;
}

// The ids around the text in the post-processor's template; several would have no key.
void find_template(const json& processor, std::optional<std::uint32_t>& before, std::optional<std::uint32_t>& after) {
  if (!processor.is_object()) return;
  if (processor.value("type", "") == "Sequence")
    for (const json& part : processor.at("processors")) find_template(part, before, after);
  if (processor.value("type", "") != "TemplateProcessing") return;
  bool seen_text = false;
  for (const json& part : processor.at("single")) {
    if (part.contains("Sequence")) seen_text = true;
    if (!part.contains("SpecialToken")) continue;
    for (const json& id : processor.at("special_tokens").at(part.at("SpecialToken").at("id").get<std::string>()).at("ids")) {
      std::optional<std::uint32_t>& side = seen_text ? after : before;
      if (side) refuse("puts several tokens around a text (tokenizer.json: /post_processor)");
      side = id.get<std::uint32_t>();
    }
  }
}

json object_of(const std::string& text) {
  const json found = json::parse(text, nullptr, false);
  return found.is_object() ? found : json::object();
}

// A token named by tokenizer_config.json or special_tokens_map.json, as "<s>" or as {"content": "<s>"}.
std::optional<std::uint32_t> named_token(const std::array<json, 2>& files, const char* key, const Vocabulary& vocabulary) {
  for (const json& file : files) {
    json token = file.value(key, json());
    if (token.is_object()) token = token.value("content", json());
    if (!token.is_string()) continue;
    const auto found = std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), token.get<std::string>());
    if (found != vocabulary.tokens.end()) return static_cast<std::uint32_t>(found - vocabulary.tokens.begin());
  }
  return std::nullopt;
}

// Which tokens begin and end a text, and whether they are put there: as the engine's tokenizer has it.
void put_special_tokens(const TokenizerFiles& files, const ModelConfig& config, const json& tokenizer, const Vocabulary& vocabulary,
                        GgufMetadata& metadata) {
  const std::array<json, 2> naming = {object_of(files.tokenizer_config), object_of(files.special_tokens_map)};
  const json& settings = naming[0];
  std::optional<std::uint32_t> begin = named_token(naming, "bos_token", vocabulary), end = named_token(naming, "eos_token", vocabulary);
  if (!begin && config.bos_id >= 0) begin = static_cast<std::uint32_t>(config.bos_id);
  bool adds_begin = tokenizer.is_null(), adds_end = false;  // tokenizer.model's are LLaMA's
  const auto flag = [&](const char* key) { return settings.value(key, json()); };
  if (flag("add_bos_token").is_boolean() || flag("add_eos_token").is_boolean()) {
    adds_begin = flag("add_bos_token") == json(true) || (tokenizer.is_null() && !flag("add_bos_token").is_boolean());
    adds_end = flag("add_eos_token") == json(true);
  } else if (!tokenizer.is_null()) {
    std::optional<std::uint32_t> before, after;
    find_template(tokenizer.value("post_processor", json()), before, after);
    adds_begin = before.has_value();
    adds_end = after.has_value();
    if (before) begin = before;
    if (after) end = after;
  }
  // What ends a completion here is what config.json says, and a second such token has a key of its own.
  if (!adds_end && !config.eos_ids.empty()) end = static_cast<std::uint32_t>(config.eos_ids.front());
  if (begin) metadata.put_u32("tokenizer.ggml.bos_token_id", *begin);
  if (end) metadata.put_u32("tokenizer.ggml.eos_token_id", *end);
  if (config.eos_ids.size() > 1) metadata.put_u32("tokenizer.ggml.eot_token_id", static_cast<std::uint32_t>(config.eos_ids[1]));
  metadata.put_bool("tokenizer.ggml.add_bos_token", adds_begin && begin.has_value());
  metadata.put_bool("tokenizer.ggml.add_eos_token", adds_end && end.has_value());
  if (const json chat = settings.value("chat_template", json()); chat.is_string())
    metadata.put_text("tokenizer.chat_template", chat.get<std::string>());
}

}  // namespace

void put_tokenizer(const TokenizerFiles& files, const ModelConfig& config, GgufMetadata& metadata) {
  const bool has_json = !files.tokenizer_json.empty();
  if (!has_json && files.tokenizer_model.empty())
    throw Error(ErrorCode::bad_input, "the artifact carries neither tokenizer.json nor tokenizer.model, and a GGUF file has its "
                                      "tokenizer in it: choose --format fp16");
  const json tokenizer = has_json ? json::parse(files.tokenizer_json, nullptr, false) : json();
  if (has_json && !tokenizer.is_object()) throw Error(ErrorCode::corrupt, "the artifact's tokenizer.json is not a JSON object");
  try {
    const Vocabulary vocabulary =
        has_json ? put_json_tokenizer(tokenizer, config, metadata) : put_sentencepiece_file(files.tokenizer_model, config, metadata);
    put_special_tokens(files, config, tokenizer, vocabulary, metadata);
  } catch (const json::exception& error) {
    throw Error(ErrorCode::bad_input, std::string("tokenizer.json or what stands beside it is not as the tokenizers library writes it (") +
                                          error.what() + "): choose --format fp16");
  }
}

}  // namespace quench::coordinator
