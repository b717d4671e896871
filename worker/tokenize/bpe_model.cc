#include "worker/tokenize/bpe_model.h"

#include <algorithm>
#include <bit>
#include <cstdio>

#include "schemas/error.h"
#include "worker/tokenize/utf8.h"

namespace quench::worker {
namespace {

constexpr char32_t kShortCharacters = 0x10000;
// Longer words are rare and would fill the cache.
constexpr std::size_t kCachedWordBytesMax = 128;
constexpr std::size_t kCachedWordsMax = 1 << 18;
// Merges make tokens, and a vocabulary has few tokens that two merges make.
constexpr std::size_t kMergesMax = 4 * kVocabularyMax;
// At most half full, chains of honest pairs stay below 50.
constexpr std::size_t kProbesMax = 4096;

}  // namespace

MergeTable::MergeTable(std::size_t merges) : slots_(std::bit_ceil(merges * 2 + 2)) {
  mask_ = slots_.size() - 1;
}

bool MergeTable::insert(TokenId left, TokenId right, Merge merge) {
  const std::uint64_t key = key_of(left, right);
  std::size_t at = slot_of(key);
  for (std::size_t probes = 0; slots_[at].key != kEmpty; ++probes) {
    if (slots_[at].key == key) return false;
    if (probes == kProbesMax) {
      throw Error(ErrorCode::bad_input,
                  "the merges are chosen to collide in a hash table; use the tokenizer "
                  "file that the model was published with");
    }
    at = (at + 1) & mask_;
  }
  slots_[at] = {key, merge};
  return true;
}

BpeModel BpeModel::from_json(const JsonNode& node) {
  node.expect_keys({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                    "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
  // GPT-2's file of 2019 has no type; vocab and merges make it BPE.
  if (node.has("type") && node.get("type").as_string() != "BPE") {
    node.get("type").fail("the model \"" + node.get("type").as_string() + "\" is not known; known is BPE");
  }
  if (node.has("dropout") && !node.get("dropout").is_null() &&
      !(node.get("dropout").value().is_number() && node.get("dropout").value().get<double>() == 0.0)) {
    node.get("dropout").fail("BPE dropout makes ids random; expected null");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!node.string_or(key, "").empty())
      node.get(key).fail(std::string(key) + " is not supported; expected null");
  }
  const JsonNode merges = node.get("merges");
  if (merges.size() > kMergesMax) {
    merges.fail("has " + std::to_string(merges.size()) + " merges; at most " + std::to_string(kMergesMax) +
                " are accepted");
  }
  BpeModel model(merges.size());
  model.read_vocabulary(node.get("vocab"));
  model.read_merges(merges);
  model.fuse_unknown_ = node.bool_or("fuse_unk", false);
  model.ignore_merges_ = node.bool_or("ignore_merges", false);
  const std::string unknown = node.string_or("unk_token", "");
  if (!unknown.empty()) {
    model.unknown_ = model.id_of(unknown);
    if (!model.unknown_) node.get("unk_token").fail("the token \"" + unknown + "\" is not in the vocabulary");
  }
  if (node.bool_or("byte_fallback", false)) {
    for (unsigned byte = 0; byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", byte);
      model.byte_tokens_.push_back(model.id_of(name).value_or(-1));
    }
  }
  return model;
}

void BpeModel::read_vocabulary(const JsonNode& node) {
  node.expect_object();
  const auto& members = node.value().get_ref<const nlohmann::json::object_t&>();
  if (members.empty()) node.fail("the vocabulary is empty");
  if (members.size() > static_cast<std::size_t>(kVocabularyMax)) {
    node.fail("has " + std::to_string(members.size()) + " tokens; at most " + std::to_string(kVocabularyMax) +
              " are accepted");
  }
  ids_.reserve(members.size());
  short_characters_.assign(kShortCharacters, -1);
  for (const auto& [token, value] : members) {
    const JsonNode id_node(value, child_pointer(node.pointer(), token));
    const auto id = static_cast<TokenId>(id_node.as_integer(0, kVocabularyMax - 1));
    if (token.size() > kTokenBytesMax) {
      id_node.fail("a token of " + std::to_string(token.size()) + " bytes; at most " +
                   std::to_string(kTokenBytesMax) + " are accepted");
    }
    if (static_cast<std::size_t>(id) >= tokens_.size()) tokens_.resize(static_cast<std::size_t>(id) + 1);
    const std::string*& slot = tokens_[static_cast<std::size_t>(id)];
    if (slot != nullptr)
      id_node.fail("the id " + std::to_string(id) + " belongs to \"" + *slot + "\" already");
    const auto place = ids_.emplace(token, id).first;
    slot = &place->first;
    if (token.empty()) continue;
    const DecodedCharacter first = utf8_decode(token, 0);
    if (first.bytes == token.size() && first.code_point < kShortCharacters) {
      short_characters_[first.code_point] = id;
    }
  }
}

void BpeModel::read_merges(const JsonNode& node) {
  std::string joined;
  for (std::size_t rank = 0; rank < node.size(); ++rank) {
    const JsonNode merge = node.at(rank);
    std::string_view left;
    std::string_view right;
    if (merge.is_array()) {
      if (merge.size() != 2) merge.fail("expected a pair of tokens");
      left = merge.at(0).as_string();
      right = merge.at(1).as_string();
    } else {
      const std::string& text = merge.as_string();
      const std::size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
        merge.fail("expected two tokens with one space between them, found \"" + text + "\"");
      }
      left = std::string_view(text).substr(0, space);
      right = std::string_view(text).substr(space + 1);
    }
    joined.assign(left);
    joined += right;
    const auto known = [&](std::string_view token) {
      const std::optional<TokenId> id = id_of(token);
      if (!id) merge.fail("the token \"" + std::string(token) + "\" of this merge is not in the vocabulary");
      return *id;
    };
    if (left.empty() || right.empty()) merge.fail("a merge with an empty token");
    const TokenId left_id = known(left);
    const TokenId right_id = known(right);
    if (!merges_.insert(left_id, right_id, {static_cast<std::uint32_t>(rank), known(joined)})) {
      merge.fail("the merge of \"" + std::string(left) + "\" and \"" + std::string(right) +
                 "\" is there twice");
    }
    const char32_t last = utf8_decode(left, utf8_previous(left, left.size())).code_point;
    const char32_t first = utf8_decode(right, 0).code_point;
    junctions_.insert(static_cast<TokenId>(last), static_cast<TokenId>(first), {0, 0});
  }
}

std::optional<TokenId> BpeModel::id_of(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional<TokenId>(found->second);
}

const std::string* BpeModel::token_of(TokenId id) const {
  return id < 0 || static_cast<std::size_t>(id) >= tokens_.size() ? nullptr
                                                                  : tokens_[static_cast<std::size_t>(id)];
}

TokenId BpeModel::id_of_character(char32_t character, std::string_view text) const {
  return character < kShortCharacters ? short_characters_[character] : id_of(text).value_or(-1);
}

void BpeModel::append_ids(std::string_view word, BpeWorkspace& workspace, std::vector<TokenId>& ids) const {
  if (ignore_merges_) {
    if (const std::optional<TokenId> whole = id_of(word)) {
      ids.push_back(*whole);
      return;
    }
  }
  // LLaMA's files have no pre-tokenizer: a whole text is one word. It is cut, with the same result, where no
  // merge reaches across: between two characters with tokens of their own that are no junction.
  std::size_t begin = 0;
  if (word.size() > kCachedWordBytesMax) {
    DecodedCharacter previous = utf8_decode(word, 0);
    for (std::size_t at = previous.bytes; at < word.size();) {
      const DecodedCharacter next = utf8_decode(word, at);
      if (junctions_.find(static_cast<TokenId>(previous.code_point), static_cast<TokenId>(next.code_point)) ==
              nullptr &&
          id_of_character(previous.code_point, word.substr(at - previous.bytes, previous.bytes)) >= 0 &&
          id_of_character(next.code_point, word.substr(at, next.bytes)) >= 0) {
        append_segment(word.substr(begin, at - begin), workspace, ids);
        begin = at;
      }
      at += next.bytes;
      previous = next;
    }
  }
  append_segment(word.substr(begin), workspace, ids);
}

void BpeModel::append_segment(std::string_view segment, BpeWorkspace& workspace,
                              std::vector<TokenId>& ids) const {
  const bool cacheable = segment.size() <= kCachedWordBytesMax;
  if (cacheable) {
    const auto cached = workspace.words_.find(segment);
    if (cached != workspace.words_.end()) {
      ids.insert(ids.end(), cached->second.begin(), cached->second.end());
      return;
    }
  }
  const auto before = static_cast<std::ptrdiff_t>(ids.size());
  split_to_symbols(segment, workspace);
  merge_all(workspace);
  for (const BpeWorkspace::Symbol& symbol : workspace.symbols_) {
    if (!symbol.gone) ids.push_back(symbol.id);
  }
  if (cacheable && workspace.words_.size() < kCachedWordsMax) {
    workspace.words_.emplace(segment, std::vector<TokenId>(ids.begin() + before, ids.end()));
  }
}

void BpeModel::split_to_symbols(std::string_view word, BpeWorkspace& workspace) const {
  if (word.size() >= static_cast<std::size_t>(INT32_MAX)) {
    throw Error(ErrorCode::bad_input, "a text without a break of " + std::to_string(word.size()) +
                                          " bytes; cut it into texts below 2 GiB");
  }
  auto& symbols = workspace.symbols_;
  symbols.clear();
  const auto add = [&](TokenId id) {
    const auto index = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({id, index - 1, index + 1, false});
  };
  // An unknown token waits, so that the next may be fused into it, until a known token comes; tokens of
  // byte fallback do not flush it. (So does the tokenizers library.)
  bool unknown_waits = false;
  for (std::size_t at = 0; at < word.size();) {
    const DecodedCharacter character = utf8_decode(word, at);
    const std::string_view text = word.substr(at, character.bytes);
    at += character.bytes;
    const TokenId id = character.code_point < kShortCharacters ? short_characters_[character.code_point]
                                                               : id_of(text).value_or(-1);
    if (id >= 0) {
      if (unknown_waits) add(*unknown_);
      unknown_waits = false;
      add(id);
      continue;
    }
    const auto byte_token = [&](char byte) { return byte_tokens_[static_cast<unsigned char>(byte)]; };
    if (!byte_tokens_.empty() &&
        std::ranges::all_of(text, [&](char byte) { return byte_token(byte) >= 0; })) {
      for (const char byte : text) add(byte_token(byte));
      continue;
    }
    if (!unknown_) continue;  // as the library: a character without a token is left out
    if (unknown_waits && !fuse_unknown_) add(*unknown_);
    unknown_waits = true;
  }
  if (unknown_waits) add(*unknown_);
  if (!symbols.empty()) symbols.back().next = -1;
}

void BpeModel::merge_all(BpeWorkspace& workspace) const {
  auto& symbols = workspace.symbols_;
  auto& heap = workspace.heap_;
  using Candidate = BpeWorkspace::Candidate;
  // The lowest rank first, then the leftmost.
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto candidate_at = [&](std::int32_t position, std::int32_t next) -> std::optional<Candidate> {
    const auto left = static_cast<std::size_t>(position);
    const MergeTable::Merge* merge =
        merges_.find(symbols[left].id, symbols[static_cast<std::size_t>(next)].id);
    if (merge == nullptr) return std::nullopt;
    return Candidate{merge->rank, static_cast<std::uint32_t>(position), merge->result};
  };
  heap.clear();
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
    const auto position = static_cast<std::int32_t>(i);
    if (const auto candidate = candidate_at(position, position + 1)) heap.push_back(*candidate);
  }
  std::ranges::make_heap(heap, later);
  const auto push = [&](const std::optional<Candidate>& candidate) {
    if (!candidate) return;
    heap.push_back(*candidate);
    std::ranges::push_heap(heap, later);
  };
  while (!heap.empty()) {
    std::ranges::pop_heap(heap, later);
    const Candidate top = heap.back();
    heap.pop_back();
    BpeWorkspace::Symbol& left = symbols[top.position];
    if (left.gone || left.next < 0) continue;
    BpeWorkspace::Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    // The pair may have changed since; it still counts if it makes the same token.
    const MergeTable::Merge* merge = merges_.find(left.id, right.id);
    if (merge == nullptr || merge->result != top.result) continue;
    left.id = top.result;
    left.next = right.next;
    right.gone = true;
    const auto position = static_cast<std::int32_t>(top.position);
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = position;
    if (left.previous >= 0) push(candidate_at(left.previous, position));
    if (left.next >= 0) push(candidate_at(position, left.next));
  }
}

}  // namespace quench::worker
