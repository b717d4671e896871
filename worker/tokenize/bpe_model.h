// The "model" of a tokenizer.json of type BPE: the vocabulary, the merges, and the merging of one word
// in O(n log n), so that a megabyte without a space takes seconds, not hours. Immutable after reading;
// safe from any thread (a BpeWorkspace belongs to one call).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "worker/tokenize/strict_json.h"
#include "worker/tokenize/tokenizer.h"

namespace quench::worker {

// Ids are below 2^20: the largest vocabularies in use have 262,144.
inline constexpr std::int64_t kVocabularyMax = 1 << 20;
// A token of the vocabulary or an added token. Real ones have at most a few hundred bytes.
inline constexpr std::size_t kTokenBytesMax = 4096;

// Lets unordered_map be asked with a string_view.
struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
template <typename Value>
using StringMap = std::unordered_map<std::string, Value, StringHash, std::equal_to<>>;

// A hash table from pairs of ids to merges: open addressing, at most half full, never resized.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank;  // lower merges first
    TokenId result;
  };
  explicit MergeTable(std::size_t merges);
  // False when the pair is there already. Throws Error(bad_input) when the pairs of a file are made to
  // collide: a lookup stays bounded.
  bool insert(TokenId left, TokenId right, Merge merge);
  const Merge* find(TokenId left, TokenId right) const {
    const std::uint64_t key = key_of(left, right);
    for (std::size_t at = slot_of(key);; at = (at + 1) & mask_) {
      if (slots_[at].key == key) return &slots_[at].merge;
      if (slots_[at].key == kEmpty) return nullptr;
    }
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t key = kEmpty;
    Merge merge{};
  };
  static std::uint64_t key_of(TokenId left, TokenId right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }
  std::size_t slot_of(std::uint64_t key) const {
    return static_cast<std::size_t>(key * 0x9E3779B97F4A7C15u >> 40) & mask_;
  }
  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
};

// Buffers of one encode() and the words it has met: texts repeat their words.
class BpeWorkspace {
 private:
  friend class BpeModel;
  struct Symbol {
    TokenId id;
    std::int32_t previous;
    std::int32_t next;
    bool gone;
  };
  struct Candidate {
    std::uint32_t rank;
    std::uint32_t position;
    TokenId result;
  };
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
  StringMap<std::vector<TokenId>> words_;
};

class BpeModel {
 public:
  // Reads the "model" object. Throws Error(bad_input) naming the JSON pointer on any mistake.
  static BpeModel from_json(const JsonNode& node);

  // Appends the ids of one word (well-formed UTF-8). Throws Error(bad_input) on a word of 2^31
  // characters or more.
  void append_ids(std::string_view word, BpeWorkspace& workspace, std::vector<TokenId>& ids) const;

  std::optional<TokenId> id_of(std::string_view token) const;
  // Tokens by id; nullptr where an id has none.
  const std::string* token_of(TokenId id) const;
  // The largest id plus one.
  std::int32_t size() const { return static_cast<std::int32_t>(tokens_.size()); }

 private:
  explicit BpeModel(std::size_t merges) : merges_(merges), junctions_(merges) {}
  void read_vocabulary(const JsonNode& node);
  void read_merges(const JsonNode& node);
  // The token of a character by itself, or -1. `text` is the character.
  TokenId id_of_character(char32_t character, std::string_view text) const;
  void append_segment(std::string_view segment, BpeWorkspace& workspace, std::vector<TokenId>& ids) const;
  void split_to_symbols(std::string_view word, BpeWorkspace& workspace) const;
  void merge_all(BpeWorkspace& workspace) const;

  StringMap<TokenId> ids_;
  std::vector<const std::string*> tokens_;  // keys of ids_, which never move
  std::vector<TokenId> short_characters_;   // by code point below 0x10000: its token, or -1
  std::vector<TokenId> byte_tokens_;        // <0x00> to <0xFF>, or empty without byte fallback
  MergeTable merges_;
  // The pairs (last character of the left token, first of the right) over all merges: between two
  // characters that are no such pair no merge can ever reach across. Results are all 0.
  MergeTable junctions_;
  std::optional<TokenId> unknown_;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

}  // namespace quench::worker
