// Random numbers that are a pure function of their key and counter (Philox4x32-10; Salmon et al., SC 2011),
// so that a completion depends on the job's seed, its task, its sample and the token's place, and on no order
// of execution. Thread-safe.
#pragma once

#include <array>
#include <cstdint>

namespace quench::worker {

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

// What a completion's randomness is keyed by.
struct SampleKey {
  std::uint64_t seed = 0;  // of the job's evaluation
  std::uint32_t task = 0;
  std::uint32_t sample = 0;
};

// A uniform number in [0, 1) with 53 random bits, for the `step`-th new token.
double uniform(const SampleKey& key, std::uint32_t step);

}  // namespace quench::worker
