#include "tests/fuzz/mutation.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace quench::fuzz {
namespace {

// A few inputs grow beyond what parsers are given; mostly they stay small, so that many can be tried.
constexpr std::size_t kBytesMax = 64 << 10;
constexpr std::uint64_t kExtremes[] = {0,          1,          0x7f,       0xff,       0x7fff,     0xffff,
                                       0x7fffffff, 0x80000000, 0xffffffff, 0x1fffffff, 0x20000000, 0x7fffffffffffffff,
                                       ~0ull,      1ull << 63, 1ull << 32, 8,          16 << 20,   (16 << 20) + 1};

bool in_a_name(std::uint8_t byte) {
  return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_' ||
         byte == '.' || byte == '-';
}

// The number, name or keyword around a place; empty between them.
std::pair<std::size_t, std::size_t> name_at(const Bytes& bytes, std::size_t at) {
  std::size_t begin = at, end = at;
  while (begin > 0 && in_a_name(bytes[begin - 1])) --begin;
  while (end < bytes.size() && in_a_name(bytes[end])) ++end;
  return {begin, end};
}

}  // namespace

void Mutator::change_once(Bytes& bytes, const Bytes& other, std::size_t grain, std::span<const std::string_view> words) {
  const std::size_t at = below(bytes.size());
  const std::size_t aligned = at / grain * grain;
  const auto from = [&](std::size_t offset) { return bytes.begin() + static_cast<std::ptrdiff_t>(offset); };
  switch (below(words.empty() ? 9 : 18)) {
    case 0:
      bytes[at] ^= static_cast<std::uint8_t>(1u << below(8));
      break;
    case 1:
      bytes[at] = static_cast<std::uint8_t>(random_());
      break;
    case 2: {
      constexpr std::size_t kWidths[] = {1, 2, 4, 8};
      const std::size_t width = std::min(kWidths[below(4)], bytes.size());
      const std::size_t place = std::min(at / width * width, bytes.size() - width);
      const std::uint64_t value = kExtremes[below(std::size(kExtremes))];
      std::memcpy(bytes.data() + place, &value, width);
      break;
    }
    case 3:
      bytes.resize(aligned);
      break;
    case 4:
      bytes.insert(from(aligned), grain * (1 + below(4)), static_cast<std::uint8_t>(random_()));
      break;
    case 5:
      bytes.erase(from(aligned), from(std::min(bytes.size(), aligned + grain * (1 + below(8)))));
      break;
    case 6: {
      const Bytes piece(from(aligned), from(std::min(bytes.size(), aligned + grain * (1 + below(64)))));
      bytes.insert(from(std::min(bytes.size(), below(bytes.size() + 1) / grain * grain)), piece.begin(), piece.end());
      break;
    }
    case 7: {
      // Two places change theirs.
      const std::size_t there = below(bytes.size()) / grain * grain;
      const std::size_t length = std::min({grain, bytes.size() - aligned, bytes.size() - there});
      Bytes first(from(aligned), from(aligned + length));
      std::copy_n(from(there), length, from(aligned));
      std::copy_n(first.begin(), length, from(there));
      break;
    }
    case 8: {
      if (other.empty()) break;
      const std::size_t cut = below(other.size()) / grain * grain;
      bytes.resize(aligned);
      bytes.insert(bytes.end(), other.begin() + static_cast<std::ptrdiff_t>(cut), other.end());
      break;
    }
    case 9:
    case 10: {
      const std::string_view word = words[below(words.size())];
      const bool over = below(2) == 0 && at + word.size() <= bytes.size();
      if (over) std::copy(word.begin(), word.end(), from(at));
      if (!over) bytes.insert(from(at), word.begin(), word.end());
      break;
    }
    default: {
      // Of text: what stands at one place comes in the place of another, or one of the format's words does.
      const auto [begin, end] = name_at(bytes, at);
      const auto [first, last] = name_at(bytes, below(bytes.size()));
      Bytes name(from(first), from(last));
      if (below(3) == 0) {
        const std::string_view word = words[below(words.size())];
        name.assign(word.begin(), word.end());
      }
      bytes.erase(from(begin), from(end));
      bytes.insert(from(begin), name.begin(), name.end());
    }
  }
}

Bytes Mutator::changed(Bytes input, const Bytes& other, std::size_t grain, std::span<const std::string_view> words) {
  // Mostly few, so that what is behind the first check is reached too.
  std::size_t changes = 1;
  while (changes < 8 && below(2) == 0) ++changes;
  for (; changes > 0 && !input.empty(); --changes) {
    change_once(input, other, grain, words);
    if (input.size() > kBytesMax) input.resize(kBytesMax);
  }
  return input;
}

}  // namespace quench::fuzz
