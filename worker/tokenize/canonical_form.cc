// Unicode Standard Annex 15; Hangul by the arithmetic of the standard's section 3.12.
#include "worker/tokenize/canonical_form.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

#include "worker/tokenize/utf8.h"

namespace quench::worker {
namespace {

struct Decomposition {
  char32_t character;
  char32_t first;
  char32_t second;  // 0: none
  bool composes;
};
struct CombiningRange {
  char32_t first;
  char32_t last;
  std::uint8_t combining_class;
};
#include "worker/tokenize/canonical_data.inc"

// Below it no character changes, nor what follows or goes before it.
constexpr char32_t kFirstCombining = 0x300;
constexpr char32_t kSyllables = 0xAC00, kLeads = 0x1100, kVowels = 0x1161, kTails = 0x11A7;
constexpr char32_t kLeadCount = 19, kVowelCount = 21, kTailCount = 28, kSyllableCount = kLeadCount * kVowelCount * kTailCount;

bool is_below(char32_t character, char32_t begin, char32_t count) { return character - begin < count; }

std::uint8_t class_of(char32_t character) {
  if (character < kFirstCombining) return 0;
  const auto* found = std::lower_bound(std::begin(kCombiningRanges), std::end(kCombiningRanges), character,
                                       [](const CombiningRange& range, char32_t c) { return range.last < c; });
  return found != std::end(kCombiningRanges) && found->first <= character ? found->combining_class : 0;
}

const Decomposition* decomposition_of(char32_t character) {
  const auto* found = std::lower_bound(std::begin(kDecompositions), std::end(kDecompositions), character,
                                       [](const Decomposition& one, char32_t c) { return one.character < c; });
  return found != std::end(kDecompositions) && found->character == character ? found : nullptr;
}

void append_decomposed(char32_t character, std::vector<char32_t>& out) {
  if (is_below(character, kSyllables, kSyllableCount)) {
    const char32_t index = character - kSyllables, tail = index % kTailCount;
    out.push_back(kLeads + index / (kVowelCount * kTailCount));
    out.push_back(kVowels + index % (kVowelCount * kTailCount) / kTailCount);
    if (tail != 0) out.push_back(kTails + tail);
    return;
  }
  const Decomposition* found = decomposition_of(character);
  if (found == nullptr) return out.push_back(character);
  append_decomposed(found->first, out);
  if (found->second != 0) append_decomposed(found->second, out);
}

bool pair_before(const Decomposition& a, const Decomposition& b) {
  return a.first != b.first ? a.first < b.first : a.second < b.second;
}

// 0: the two do not compose.
char32_t composed(char32_t first, char32_t second) {
  if (is_below(first, kLeads, kLeadCount) && is_below(second, kVowels, kVowelCount))
    return kSyllables + ((first - kLeads) * kVowelCount + second - kVowels) * kTailCount;
  if (is_below(first, kSyllables, kSyllableCount) && (first - kSyllables) % kTailCount == 0 &&
      is_below(second, kTails + 1, kTailCount - 1))
    return first + (second - kTails);
  static const std::vector<Decomposition> pairs = [] {
    std::vector<Decomposition> all;
    for (const Decomposition& one : kDecompositions)
      if (one.composes) all.push_back(one);
    std::sort(all.begin(), all.end(), pair_before);
    return all;
  }();
  const Decomposition wanted{0, first, second, true};
  const auto found = std::lower_bound(pairs.begin(), pairs.end(), wanted, pair_before);
  return found != pairs.end() && found->first == first && found->second == second ? found->character : 0;
}

void put_in_order(std::vector<char32_t>& characters) {
  for (auto begin = characters.begin(); begin != characters.end();) {
    if (class_of(*begin) == 0) {
      ++begin;
      continue;
    }
    const auto end = std::find_if(begin, characters.end(), [](char32_t c) { return class_of(c) == 0; });
    std::stable_sort(begin, end, [](char32_t a, char32_t b) { return class_of(a) < class_of(b); });
    begin = end;
  }
}

void compose(std::vector<char32_t>& characters) {
  constexpr std::size_t kNone = ~std::size_t{0};
  std::size_t starter = kNone, kept = 0;
  int last_class = -1;  // of what is kept behind the starter; -1: nothing is
  for (const char32_t character : characters) {
    const int its_class = class_of(character);
    if (starter != kNone && last_class < its_class) {
      if (const char32_t whole = composed(characters[starter], character); whole != 0) {
        characters[starter] = whole;
        continue;
      }
    }
    if (its_class == 0) {
      starter = kept;
      last_class = -1;
    } else {
      last_class = its_class;
    }
    characters[kept++] = character;
  }
  characters.resize(kept);
}

}  // namespace

std::string canonical_composition(std::string text) {
  bool changes = false;
  for (std::size_t at = 0; at < text.size() && !changes;) {
    const DecodedCharacter character = utf8_decode(text, at);
    changes = character.code_point >= kFirstCombining;
    at += character.bytes;
  }
  if (!changes) return text;
  std::vector<char32_t> characters;
  characters.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const DecodedCharacter character = utf8_decode(text, at);
    append_decomposed(character.code_point, characters);
    at += character.bytes;
  }
  put_in_order(characters);
  compose(characters);
  std::string out;
  out.reserve(text.size());
  for (const char32_t character : characters) utf8_append(out, character);
  return out;
}

}  // namespace quench::worker
