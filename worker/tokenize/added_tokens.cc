#include "worker/tokenize/added_tokens.h"

#include <algorithm>

#include "schemas/error.h"
#include "worker/tokenize/unicode_updates.h"
#include "worker/tokenize/utf8.h"

namespace quench::worker {
namespace {

AddedToken read_token(const JsonNode& node) {
  node.expect_keys({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.id = static_cast<TokenId>(node.get("id").as_integer(0, kVocabularyMax - 1));
  token.content = node.get("content").as_string();
  if (token.content.empty() || token.content.size() > kTokenBytesMax) {
    node.get("content").fail("a token of " + std::to_string(token.content.size()) + " bytes; expected 1 to " +
                             std::to_string(kTokenBytesMax));
  }
  token.single_word = node.bool_or("single_word", false);
  token.lstrip = node.bool_or("lstrip", false);
  token.rstrip = node.bool_or("rstrip", false);
  token.special = node.bool_or("special", false);
  token.normalized = node.bool_or("normalized", !token.special);
  return token;
}

// Rust's \w: Alphabetic, marks, decimal digits, connectors and joiners. The ranges are the letters in
// circles and squares, which are alphabetic symbols.
constexpr const char* kWordPattern =
    R"([\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}])";

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

std::size_t white_space_begin(std::string_view text, std::size_t end) {
  while (end > 0) {
    const std::size_t at = utf8_previous(text, end);
    if (!is_white_space(utf8_decode(text, at).code_point)) break;
    end = at;
  }
  return end;
}

std::size_t white_space_end(std::string_view text, std::size_t begin) {
  while (begin < text.size()) {
    const DecodedCharacter character = utf8_decode(text, begin);
    if (!is_white_space(character.code_point)) break;
    begin += character.bytes;
  }
  return begin;
}

}  // namespace

void NameTrie::insert(std::string_view name, std::size_t value) {
  std::uint32_t node = 0;
  for (const char byte : name) {
    const std::uint64_t edge = std::uint64_t{node} << 8 | static_cast<unsigned char>(byte);
    const auto [place, inserted] = edges_.emplace(edge, static_cast<std::uint32_t>(values_.size()));
    if (inserted) values_.push_back(SIZE_MAX);
    node = place->second;
  }
  values_[node] = value;
  begins_[static_cast<unsigned char>(name.front())] = true;
}

NameTrie::Match NameTrie::longest_at(std::string_view text, std::size_t at) const {
  Match match;
  std::uint32_t node = 0;
  for (std::size_t i = at; i < text.size(); ++i) {
    const auto found = edges_.find(std::uint64_t{node} << 8 | static_cast<unsigned char>(text[i]));
    if (found == edges_.end()) break;
    node = found->second;
    if (values_[node] != SIZE_MAX) match = {values_[node], i + 1 - at};
  }
  return match;
}

AddedTokens AddedTokens::from_json(const JsonNode& node, const BpeModel& model,
                                   const Normalizer* normalizer) {
  AddedTokens added;
  for (std::size_t i = 0; i < node.size(); ++i) {
    const JsonNode token_node = node.at(i);
    AddedToken token = read_token(token_node);
    if (token.single_word && !added.word_character_) added.word_character_.emplace(kWordPattern);
    const std::optional<TokenId> known = model.id_of(token.content);
    if (known && *known != token.id) {
      token_node.get("id").fail("the vocabulary gives \"" + token.content + "\" the id " +
                                std::to_string(*known) + ", not " + std::to_string(token.id));
    }
    const std::string* other = model.token_of(token.id);
    if (!known && other != nullptr) {
      token_node.get("id").fail("the id " + std::to_string(token.id) + " belongs to \"" + *other +
                                "\" in the vocabulary");
    }
    if (!added.by_id_.emplace(token.id, i).second) {
      token_node.get("id").fail("the id " + std::to_string(token.id) + " is there twice");
    }
    if (!added.by_content_.emplace(token.content, i).second) {
      token_node.get("content").fail("the token \"" + token.content + "\" is there twice");
    }
    std::string name = token.content;
    if (token.normalized && normalizer != nullptr) {
      MatchBudget budget(name.size());
      name = normalizer->apply(std::move(name), budget);
    }
    if (name.empty()) token_node.get("content").fail("the normalizer leaves nothing of this token");
    token.sought = name;
    (token.normalized ? added.normalized_ : added.exact_).insert(name, i);
    added.size_ = std::max(added.size_, token.id + 1);
    added.tokens_.push_back(std::move(token));
  }
  return added;
}

std::vector<AddedTokenPart> AddedTokens::find(const NameTrie& trie, std::string_view text) const {
  std::vector<AddedTokenPart> parts;
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size() && !trie.empty();) {
    if (!trie.may_begin(text[at])) {
      ++at;
      continue;
    }
    const NameTrie::Match match = trie.longest_at(text, at);
    if (match.length == 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[match.value];
    std::size_t begin = at;
    std::size_t end = at + match.length;
    at = end;
    if (token.single_word && (ends_in_word(text.substr(0, begin)) || begins_with_word(text.substr(end))))
      continue;
    // White space that the token before has taken along stays with it.
    if (token.lstrip) begin = std::max(white_space_begin(text, begin), done);
    if (token.rstrip) end = white_space_end(text, end);
    if (done < begin) parts.push_back({done, begin, std::nullopt});
    // Nothing is left of a token of white space that the one before has taken along on both sides.
    if (begin < end) parts.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) parts.push_back({done, text.size(), std::nullopt});
  return parts;
}

bool AddedTokens::is_word_character(std::string_view character) const {
  const std::string stand_in = with_stand_ins(character);
  MatchBudget budget(character.size());
  Matcher matcher(*word_character_, budget);
  matcher.start(stand_in.empty() ? character : std::string_view(stand_in));
  std::size_t begin = 0;
  std::size_t end = 0;
  return matcher.next(begin, end);
}

bool AddedTokens::ends_in_word(std::string_view text) const {
  return !text.empty() && is_word_character(text.substr(utf8_previous(text, text.size())));
}

bool AddedTokens::begins_with_word(std::string_view text) const {
  return !text.empty() && is_word_character(text.substr(0, utf8_decode(text, 0).bytes));
}

const AddedToken* AddedTokens::by_id(TokenId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

const AddedToken* AddedTokens::by_content(std::string_view content) const {
  const auto found = by_content_.find(content);
  return found == by_content_.end() ? nullptr : &tokens_[found->second];
}

}  // namespace quench::worker
