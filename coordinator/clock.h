// The wall clock, for what people read: names' histories, run records.
#pragma once

#include <chrono>
#include <cstdint>

namespace quench::coordinator {

inline std::int64_t unix_now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace quench::coordinator
