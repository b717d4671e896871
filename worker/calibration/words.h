// The words of a text as numbers, for comparing texts by runs of words: letters, digits, underscores and all
// beyond ASCII make a word, its case does not count. So spacing, punctuation and indentation do not hide a
// copy.
#pragma once

#include <cctype>
#include <cstdint>
#include <string_view>
#include <vector>

namespace quench::worker {

struct Word {
  std::uint64_t hash;
  std::string_view text;  // as it stands, in any case
};

inline std::uint64_t mixed(std::uint64_t x) {  // splitmix64's finaliser
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

// Calls `on_word(Word)` for each word of `text`.
template <typename OnWord>
void for_each_word(std::string_view text, OnWord&& on_word) {
  constexpr std::uint64_t kStart = 0xcbf29ce484222325u, kPrime = 0x100000001b3u;  // 64-bit FNV-1a
  std::uint64_t hash = kStart;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    const auto c = static_cast<unsigned char>(i < text.size() ? text[i] : ' ');
    if (c >= 0x80 || c == '_' || std::isalnum(c) != 0) {
      hash = (hash ^ static_cast<unsigned char>(std::tolower(c))) * kPrime;
      continue;
    }
    if (i > begin) on_word(Word{mixed(hash), text.substr(begin, i - begin)});
    begin = i + 1;
    hash = kStart;
  }
}

// Hashes of all runs of `length` words, as they come: a polynomial over the words, modulo 2^64.
class WordRuns {
 public:
  explicit WordRuns(std::size_t length) : recent_(length, 0) {
    for (std::size_t i = 1; i < length; ++i) highest_ *= kBase;
  }
  // True once as many words were given; hash() is then that of the last `length`.
  bool add(std::uint64_t word) {
    std::uint64_t& oldest = recent_[count_ % recent_.size()];
    sum_ = (sum_ - oldest * highest_) * kBase + word;
    oldest = word;
    return ++count_ >= recent_.size();
  }
  std::uint64_t hash() const { return mixed(sum_); }

 private:
  static constexpr std::uint64_t kBase = 0x9e3779b97f4a7c15u;  // odd, so no power of it vanishes
  std::vector<std::uint64_t> recent_;
  std::uint64_t highest_ = 1;
  std::uint64_t sum_ = 0;
  std::size_t count_ = 0;
};

}  // namespace quench::worker
