// What tests of several processes wait for, and look for in what those said.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <thread>

namespace quench::testing {

// Whether `condition` comes true before the deadline, which is for a busy machine.
template <typename Condition>
bool wait_for(Condition condition, std::chrono::seconds deadline = std::chrono::seconds(300)) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

inline std::size_t count(const std::string& text, const std::string& word) {
  std::size_t found = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
  return found;
}

}  // namespace quench::testing
