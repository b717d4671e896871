// The host's end of a warm javac (java/Compiler.java) in a sandbox of its own: it sees sources and never runs
// what it compiles. One thread, the one that made it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "worker/evaluate/sandbox/bubblewrap.h"
#include "worker/evaluate/sandbox/frames.h"
#include "worker/evaluate/sandbox/java_host.h"

namespace quench::worker {

// A class file.
struct JavaClass {
  std::string name;
  std::string bytes;
};

struct Compilation {
  enum class Result { compiled, wrong, out_of_memory };
  Result result = Result::wrong;
  std::string
      text;  // compiled: what java/Runner.java reads from its stdin, in base64; wrong: the first diagnostic
};

class JavaCompiler {
 public:
  // Starts the sandbox and waits until the compiler is warm, a few seconds of CPU time. Throws Error(bad_input) when it does
  // not start.
  JavaCompiler(const SandboxHost& host, const JavaHost& java, const SandboxLimits& limits);

  // Throws Error(timed_out) past the deadline and Error(failed) when the compiler is gone: it is then of no
  // more use. `tests` is the second part of the program and has the main method that will run; when it is
  // empty, that of the class Problem runs, else the first.
  Compilation compile(std::string_view program, std::string_view tests, SandboxClock::time_point deadline);

  // The compiled java/Runner.java and java/PlainProgram.java.
  const std::vector<JavaClass>& runner() const { return runner_; }
  // Once it is gone: whether the kernel has ended it because its control group reached the memory limit.
  bool was_out_of_memory() const { return process_.was_out_of_memory(); }

 private:
  SandboxProcess process_;
  std::vector<JavaClass> runner_;
};

}  // namespace quench::worker
