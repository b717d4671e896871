// SplitMix64: the draws of a quantization, the same on every rank.
#pragma once

#include <cstdint>

namespace quench::worker {

class SeededDraws {
 public:
  explicit SeededDraws(std::uint64_t seed) : state_(seed) {}
  // Draws that begin with it go on from here.
  std::uint64_t state() const { return state_; }
  // 0 … bound-1; a bias of bound / 2^64 is left.
  std::uint64_t below(std::uint64_t bound) {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return static_cast<std::uint64_t>((static_cast<Wide>(z) * bound) >> 64);
  }

 private:
  __extension__ using Wide = unsigned __int128;
  std::uint64_t state_;
};

}  // namespace quench::worker
