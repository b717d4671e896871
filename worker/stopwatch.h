// What benchmarks time with.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace quench::worker {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Of an even number the larger of the two in the middle; at least one.
inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.at(values.size() / 2);
}

}  // namespace quench::worker
