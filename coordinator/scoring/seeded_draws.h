// Pseudo-random draws for the bootstrap and the permutation test: SplitMix64, seeded, the same on every
// machine and standard library, so that the same verdicts give the same interval.
#pragma once

#include <cstdint>

namespace quench::coordinator {

class SeededDraws {
 public:
  explicit SeededDraws(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ull;
    std::uint64_t value = state_;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
    return value ^ (value >> 31);
  }
  // Uniform in [0, bound): the high half of a 128-bit product; its bias is under bound / 2^64.
  std::uint64_t below(std::uint64_t bound) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>(static_cast<Wide>(next()) * bound >> 64);
  }

 private:
  std::uint64_t state_;
};

}  // namespace quench::coordinator
