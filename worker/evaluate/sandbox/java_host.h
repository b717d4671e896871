// The Java development kit that compiles and runs Java programs: where it is, and whether it will do.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "worker/evaluate/sandbox/bubblewrap.h"

namespace quench::worker {

struct JavaHost {
  std::filesystem::path java;                  // home/bin/java
  std::string version;                         // "17.0.15"
  int major = 0;                               // 17
  std::vector<std::filesystem::path> folders;  // what a sandbox must have besides /usr/lib
};

// `home` is the folder of a kit; empty: /usr/lib/jvm/default-java, else the one of the javac on PATH. Throws
// Error(bad_input) naming what is missing and the package that has it. The kit must be of Java 17 or
// newer; from Java 24 on, which has no security manager, a program that does more than compute gets
// sandbox_violation.
JavaHost find_java_host(const std::filesystem::path& home = {});

}  // namespace quench::worker
