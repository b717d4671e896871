// Runs one Java program at a time: compiled in one sandbox, run by a fresh Java machine in another (README.md
// in this folder). One thread, the one that made it: both end with that thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "worker/evaluate/sandbox/attempt.h"
#include "worker/evaluate/sandbox/bubblewrap.h"
#include "worker/evaluate/sandbox/java_compiler.h"
#include "worker/evaluate/sandbox/limits.h"

namespace quench::worker {

class Zygote;

class JavaSandbox {
 public:
  // Starts both sandboxes. Throws Error(bad_input) when this host cannot run them.
  JavaSandbox(SandboxHost host, JavaHost java, SandboxLimits limits);
  ~JavaSandbox();
  JavaSandbox(const JavaSandbox&) = delete;
  JavaSandbox& operator=(const JavaSandbox&) = delete;

  // A program passes when its main method returns, with assertions on, and all its threads end. `program` may
  // end where `tests` goes on; the main method is then the first in `tests`. Both run in one process, so a
  // verdict is never isolated.
  Attempt run_program(const std::string& program, std::uint32_t wall_ms, std::string_view tests = {});

 private:
  Attempt try_program(const std::string& program, std::string_view tests, std::uint32_t wall_ms);
  std::vector<std::string> command() const;
  void start_compiler();
  void start_runner();

  SandboxHost host_;
  JavaHost java_;
  SandboxLimits limits_;
  std::unique_ptr<JavaCompiler> compiler_;
  std::vector<JavaClass> runner_classes_;  // of a compiler that had not seen a program yet
  std::unique_ptr<Zygote> runner_;
  std::uint64_t next_id_ = 1;
};

}  // namespace quench::worker
