#include "worker/tokenize/byte_bpe.h"

#include <algorithm>

#include "schemas/error.h"
#include "worker/tokenize/strict_json.h"
#include "worker/tokenize/utf8.h"

namespace quench::worker {
namespace {

const nlohmann::json kNull;

// A part of the pipeline that may be missing or null.
JsonNode optional_part(const JsonNode& root, const char* key) {
  return root.has(key) ? root.get(key) : JsonNode(kNull, child_pointer(root.pointer(), key));
}

const JsonNode& checked_root(const JsonNode& root) {
  // "truncation" and "padding" say how a batch was once prepared, not what a text's tokens are; Quench
  // gives every text its own length (as transformers, which resets both).
  root.expect_keys({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                    "post_processor", "decoder", "model"});
  if (root.has("version") && root.get("version").as_string() != "1.0") {
    root.get("version").fail("expected version \"1.0\", found \"" + root.get("version").as_string() + "\"");
  }
  for (const char* key : {"truncation", "padding"}) {
    const JsonNode part = optional_part(root, key);
    if (!part.is_null()) part.expect_object();
  }
  return root;
}

AddedTokens read_added(const JsonNode& root, const BpeModel& model, const Normalizer* normalizer) {
  const JsonNode node = optional_part(root, "added_tokens");
  return node.is_null() ? AddedTokens() : AddedTokens::from_json(node, model, normalizer);
}

}  // namespace

std::unique_ptr<ByteBpe> ByteBpe::from_file(const std::filesystem::path& path,
                                            const SpecialSettings& settings) {
  return from_text(read_bounded_file(path, kTokenizerFileBytesMax), path, settings);
}

std::unique_ptr<ByteBpe> ByteBpe::from_text(std::string_view json, const std::filesystem::path& path,
                                            const SpecialSettings& settings) {
  return in_context(path.string(), [&] {
    const nlohmann::json document = parse_strict_json(json);
    return std::unique_ptr<ByteBpe>(new ByteBpe(JsonNode(document, ""), path, settings));
  });
}

ByteBpe::ByteBpe(const JsonNode& root, const std::filesystem::path& path, const SpecialSettings& settings)
    : path_(path),
      model_(BpeModel::from_json(checked_root(root).get("model"))),
      normalizer_(read_normalizer(optional_part(root, "normalizer"))),
      pre_tokenizer_(read_pre_tokenizer(optional_part(root, "pre_tokenizer"))),
      decoder_(read_decoder(optional_part(root, "decoder"))),
      post_processor_(read_post_processor(optional_part(root, "post_processor"))),
      added_(read_added(root, model_, normalizer_.get())) {
  apply_settings(settings);
  for (const auto& ids : {post_processor_.before, post_processor_.after}) {
    for (const TokenId id : ids) {
      if (token_of(id).text.empty()) {
        optional_part(root, "post_processor").fail("its id " + std::to_string(id) + " has no token");
      }
    }
  }
}

void ByteBpe::apply_settings(const SpecialSettings& settings) {
  const auto resolve = [&](const std::optional<std::string>& token, const std::optional<TokenId>& id,
                           const char* key) -> std::optional<TokenId> {
    if (!token) return id && !token_of(*id).text.empty() ? id : std::nullopt;
    const std::optional<TokenId> found = id_of(*token);
    if (!found) {
      throw Error(ErrorCode::bad_input, std::string("the ") + key + " \"" + *token +
                                            "\" that tokenizer_config.json or special_tokens_map.json names "
                                            "is not in this file; copy both from the same model");
    }
    return found;
  };
  bos_id_ = resolve(settings.bos_token, settings.bos_id, "bos_token");
  eos_id_ = resolve(settings.eos_token, settings.eos_id, "eos_token");
  if (!settings.add_bos && !settings.add_eos) return;
  post_processor_ = {};
  if (settings.add_bos.value_or(false) && bos_id_) post_processor_.before.push_back(*bos_id_);
  if (settings.add_eos.value_or(false) && eos_id_) post_processor_.after.push_back(*eos_id_);
}

std::vector<TokenId> ByteBpe::encode(std::string_view text, AddSpecialTokens special) const {
  std::vector<TokenId> ids;
  if (special == AddSpecialTokens::yes) ids = post_processor_.before;
  std::string repaired;
  if (utf8_valid_prefix(text) != text.size()) {
    repaired = utf8_lossy(text);
    text = repaired;
  }
  MatchBudget budget(text.size());
  BpeWorkspace workspace;
  for (const AddedTokenPart& part : added_.find_exact(text)) {
    if (part.id) {
      ids.push_back(*part.id);
    } else {
      append_text(std::string(text.substr(part.begin, part.end - part.begin)), part.begin == 0, budget,
                  workspace, ids);
    }
  }
  if (special == AddSpecialTokens::yes) {
    ids.insert(ids.end(), post_processor_.after.begin(), post_processor_.after.end());
  }
  return ids;
}

void ByteBpe::append_text(std::string text, bool at_input_start, MatchBudget& budget, BpeWorkspace& workspace,
                          std::vector<TokenId>& ids) const {
  if (normalizer_) text = normalizer_->apply(std::move(text), budget);
  if (!added_.has_normalized()) {
    append_words(std::move(text), at_input_start, budget, workspace, ids);
    return;
  }
  for (const AddedTokenPart& part : added_.find_normalized(text)) {
    if (part.id) {
      ids.push_back(*part.id);
    } else {
      append_words(text.substr(part.begin, part.end - part.begin), at_input_start && part.begin == 0, budget,
                   workspace, ids);
    }
  }
}

void ByteBpe::append_words(std::string text, bool at_input_start, MatchBudget& budget,
                           BpeWorkspace& workspace, std::vector<TokenId>& ids) const {
  if (text.empty()) return;
  Pieces pieces;
  pieces.cuts.push_back({0, text.size(), at_input_start});
  pieces.text = std::move(text);
  if (pre_tokenizer_) pre_tokenizer_->apply(pieces, budget);
  for (const Piece& piece : pieces.cuts) model_.append_ids(pieces.view(piece), workspace, ids);
}

DecodedToken ByteBpe::token_of(TokenId id) const {
  if (const AddedToken* added = added_.by_id(id)) return {added->sought, true};
  const std::string* token = model_.token_of(id);
  return {token == nullptr ? std::string() : *token, false};
}

std::string ByteBpe::decode(std::span<const TokenId> ids, SkipSpecialTokens special) const {
  std::vector<DecodedToken> tokens;
  tokens.reserve(ids.size());
  for (const TokenId id : ids) {
    if (special == SkipSpecialTokens::yes && is_special(id)) continue;
    DecodedToken token = token_of(id);
    if (!token.text.empty()) tokens.push_back(std::move(token));
  }
  if (decoder_) decoder_->decode(tokens);
  std::string text;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    // Without a decoder the library puts spaces between the tokens.
    if (!decoder_ && i > 0) text += ' ';
    text += tokens[i].text;
  }
  return text;
}

std::string ByteBpe::token_bytes(TokenId id) const {
  const DecodedToken token = token_of(id);
  return decoder_ ? decoder_->token_bytes(token) : token.text;
}

bool ByteBpe::is_special(TokenId id) const {
  const AddedToken* added = added_.by_id(id);
  return added != nullptr && added->special;
}

std::optional<TokenId> ByteBpe::id_of(std::string_view token) const {
  if (const AddedToken* added = added_.by_content(token)) return added->id;
  return model_.id_of(token);
}

std::int32_t ByteBpe::vocabulary_size() const { return std::max(model_.size(), added_.size()); }

}  // namespace quench::worker
