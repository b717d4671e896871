// What the tests of evaluation share: a small problem, and a grader with short limits.
#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "worker/evaluate/grader.h"

namespace quench::worker {

// double(x): plain values of several kinds go in and come out.
inline Problem double_problem() {
  return Problem{"test/double", "def double(x):\n    \"\"\"Twice x.\"\"\"\n", "double", "    return x + x\n",
                 "def check(candidate):\n"
                 "    assert candidate(2) == 4\n"
                 "    assert candidate('ab') == 'abab'\n"
                 "    assert candidate([1, (2, None)]) == [1, (2, None), 1, (2, None)]\n"};
}

// One second instead of three, little memory: hostile programs use up whatever they get.
inline GraderOptions short_options(int sandboxes) {
  GraderOptions options;
  options.sandboxes = sandboxes;
  options.limits.cpu_ms = 1000;
  options.limits.memory_bytes = 256ull << 20;
  options.limits.total_memory_bytes = 128ull << 20;
  options.limits.disk_bytes = 16ull << 20;
  return options;
}

inline std::string read_whole(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace quench::worker
