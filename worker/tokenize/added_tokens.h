// The "added_tokens" of a tokenizer.json: names that are found in a text before anything else and
// become one token each (<|endoftext|>, <s>, DeepSeek's ü). Those with `normalized: false` are sought in
// the text as given, the others in what the normalizer made of it. The longest match counts, from left
// to right. Immutable after reading; safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "worker/tokenize/bpe_model.h"
#include "worker/tokenize/normalizer.h"
#include "worker/tokenize/strict_json.h"
#include "worker/tokenize/tokenizer.h"

namespace quench::worker {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  std::string sought;        // what is found in the text: the content, normalized if it says so
  bool single_word = false;  // only between non-word characters
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // takes the white space after it along
  bool normalized = false;
  bool special = false;
};

// A part of a text: a token, or text between tokens.
struct AddedTokenPart {
  std::size_t begin;
  std::size_t end;
  std::optional<TokenId> id;
};

// Finds the longest of many names at a place: a trie over bytes.
class NameTrie {
 public:
  void insert(std::string_view name, std::size_t value);
  bool empty() const { return edges_.empty(); }
  // The value and length of the longest name that begins at `at`; length 0 when there is none.
  struct Match {
    std::size_t value = 0;
    std::size_t length = 0;
  };
  Match longest_at(std::string_view text, std::size_t at) const;
  bool may_begin(char byte) const { return begins_[static_cast<unsigned char>(byte)]; }

 private:
  std::unordered_map<std::uint64_t, std::uint32_t> edges_;  // node and byte to node
  std::vector<std::size_t> values_ = {SIZE_MAX};            // by node
  std::vector<bool> begins_ = std::vector<bool>(256);
};

class AddedTokens {
 public:
  // `node` is the array. `normalizer` (may be null) is applied to the names of normalized tokens, as it
  // will be to texts. Throws Error(bad_input) on a mistake: an id that the model's vocabulary gives to
  // another token, a duplicate, an empty name, ids out of range.
  static AddedTokens from_json(const JsonNode& node, const BpeModel& model, const Normalizer* normalizer);

  // Cuts `text` (well-formed UTF-8) at the tokens with `normalized: false`.
  std::vector<AddedTokenPart> find_exact(std::string_view text) const { return find(exact_, text); }
  // Cuts normalized text at the others.
  std::vector<AddedTokenPart> find_normalized(std::string_view text) const { return find(normalized_, text); }
  bool has_normalized() const { return !normalized_.empty(); }

  const AddedToken* by_id(TokenId id) const;
  const AddedToken* by_content(std::string_view content) const;
  // The largest id plus one; 0 without tokens.
  std::int32_t size() const { return size_; }

 private:
  std::vector<AddedTokenPart> find(const NameTrie& trie, std::string_view text) const;
  bool is_word_character(std::string_view character) const;
  bool ends_in_word(std::string_view text) const;
  bool begins_with_word(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<TokenId, std::size_t> by_id_;
  StringMap<std::size_t> by_content_;
  NameTrie exact_;
  NameTrie normalized_;
  std::optional<Regex> word_character_;  // when a token is single_word
  std::int32_t size_ = 0;
};

}  // namespace quench::worker
