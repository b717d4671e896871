// Inputs for parsers of what comes from outside: valid ones, changed at random. An input is named by a number from which it
// is made anew, so a failure replays alone.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <string_view>

#include "schemas/codec.h"

namespace quench::fuzz {

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  // Flips bits, overwrites bytes and words with extreme values, cuts, doubles, moves and inserts pieces, crosses with another
  // valid input, and inserts words of the format. `grain`: what lengths and offsets count in; 8 for Cap'n Proto's words.
  Bytes changed(Bytes input, const Bytes& other, std::size_t grain, std::span<const std::string_view> words);

 private:
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(random_() % bound); }
  void change_once(Bytes& bytes, const Bytes& other, std::size_t grain, std::span<const std::string_view> words);

  std::mt19937_64 random_;
};

}  // namespace quench::fuzz
