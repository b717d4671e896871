// Runs one program at a time, in a pair of sandboxes: the answer in one, its tests in the other
// (README.md in this folder). One thread, the one that made it: both end with that thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

#include "worker/evaluate/problems.h"
#include "worker/evaluate/sandbox/attempt.h"
#include "worker/evaluate/sandbox/bubblewrap.h"
#include "worker/evaluate/sandbox/limits.h"
#include "worker/evaluate/sandbox/report.h"

namespace quench::worker {

class Desk;
class Zygote;
enum class ZygoteKind;

class Sandbox {
 public:
  // Starts both sandboxes. Throws Error(bad_input) when this host cannot run them.
  Sandbox(SandboxHost host, SandboxLimits limits);
  ~Sandbox();
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  // The whole answer (prompt and completion, or a solution) against the problem's tests: in processes of their own, or
  // in the answer's where they need its classes (then the execution says isolated = false).
  Attempt run_answer(const Problem& problem, const std::string& source, std::uint32_t wall_ms);
  // A program with its own tests; passed when it reaches its end.
  Attempt run_program(const std::string& source, std::uint32_t wall_ms);
  // What runs in it runs on this core from the next program on.
  void move_to(int core) { move_to_ = core; }

 private:
  Attempt guarded(Attempt (Sandbox::*run)(const Problem*, const std::string&, std::uint32_t),
                  const Problem* problem, const std::string& source, std::uint32_t wall_ms);
  Attempt try_answer(const Problem* problem, const std::string& source, std::uint32_t wall_ms);
  Attempt try_program(const Problem* problem, const std::string& source, std::uint32_t wall_ms);
  void replace(std::unique_ptr<Zygote>& zygote, ZygoteKind kind);
  bool desk_takes(const std::string& tests);
  Report end_desk(std::uint64_t id, const char* reason);
  void follow();

  SandboxHost host_;
  SandboxLimits limits_;
  std::unique_ptr<Zygote> answers_;
  std::unique_ptr<Zygote> examiner_;
  std::unordered_set<std::size_t> refused_by_desk_;
  std::unique_ptr<Desk> desk_;  // in examiner_, when there is one
  std::uint64_t next_id_ = 1;
  std::optional<int> move_to_;
};

}  // namespace quench::worker
