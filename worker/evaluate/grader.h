// Executes given answers against their tests: the engine of `quench grade` and of a job's evaluation.
//
// A completion (the prompt goes before it) or a solution (a whole function) never shares a process
// with its tests: see sandbox/README.md. A `program` brings its own tests and runs in one process; its result
// says isolated = false. grade() may be called from one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/artifact.h"
#include "worker/evaluate/problems.h"
#include "worker/evaluate/sandbox/limits.h"

namespace quench::worker {

// What became of one answer. compile_error: the answer is not Python; sandbox_violation: it made a
// system call that no answer has a use for; failed: an assertion, an exception, an exit, a missing
// function.
struct Execution {
  VerdictResult result = VerdictResult::failed;
  std::uint64_t cpu_ms = 0;   // of the answer and its tests together
  std::uint64_t wall_ms = 0;
  std::string detail;         // one line: "AssertionError", "NameError: name 'x' is not defined"
  std::string stderr_tail;    // at most 2 KiB, valid UTF-8
  bool isolated = true;       // answer and tests ran in different processes
  bool passed() const { return result == VerdictResult::passed; }
};

enum class SubmissionForm { completion, solution, program };

// One answer to execute. For a program `problem` may be null; otherwise it must outlive the call.
struct Submission {
  const Problem* problem = nullptr;
  SubmissionForm form = SubmissionForm::completion;
  std::string text;
};

struct GraderOptions {
  SandboxLimits limits;
  int sandboxes = 0;                          // run at the same time; 0 = one for each core we may use
  std::filesystem::path bwrap;                // empty: looked for on PATH
  std::filesystem::path python = "/usr/bin/python3";
};

class Grader {
 public:
  // Starts the sandboxes. Throws Error(bad_input) naming what is missing (bwrap, python3, user
  // namespaces) and the remedy.
  explicit Grader(GraderOptions options);
  ~Grader();
  Grader(const Grader&) = delete;
  Grader& operator=(const Grader&) = delete;

  // Runs all submissions, several at a time; results in the order of the submissions. A time-out
  // that starved for CPU, or a sandbox that broke, is run once more alone. `on_done(index,
  // execution)` is called from the sandboxes' threads, one at a time, when it is final.
  std::vector<Execution> grade(std::span<const Submission> submissions,
                             const std::function<void(std::size_t, const Execution&)>& on_done = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quench::worker
