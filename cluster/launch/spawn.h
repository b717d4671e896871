// fork and exec, with everything that needs memory or locks done before the fork, so that it is safe in
// a program with threads.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace quench::cluster {

struct SpawnPlan {
  std::filesystem::path program;
  std::vector<std::string> arguments;    // without the program's own name
  std::vector<std::string> environment;  // "NAME=value", complete
  int in = 0;                            // descriptors that become 0, 1, 2
  int out = 1;
  int err = 2;
  bool own_group = false;
  int death_signal = 9;  // 0: none
};

// Throws Error(unreachable) with the kernel's words when the program cannot be executed.
pid_t spawn(const SpawnPlan& plan);

}  // namespace quench::cluster
