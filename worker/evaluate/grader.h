// Executes given answers against their tests: the engine of `quench grade` and of a job's evaluation.
//
// A completion (the prompt goes before it) or a solution (a whole function) never shares a process
// with its tests: see sandbox/README.md. A `program` brings its own tests and runs in one process, and so does
// whatever is in Java; their results say isolated = false. grade() may be called from one thread at a time.
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
#include "worker/evaluate/sandbox/attempt.h"
#include "worker/evaluate/sandbox/limits.h"

namespace quench::worker {

enum class SubmissionForm { completion, solution, program };

// One answer to execute. For a program `problem` may be null; otherwise it must outlive the call.
struct Submission {
  const Problem* problem = nullptr;
  SubmissionForm form = SubmissionForm::completion;
  std::string text;
};

struct GraderOptions {
  Benchmark benchmark = Benchmark::humaneval;
  Language language = Language::python;
  SandboxLimits limits;
  int sandboxes = 0;            // run at the same time; 0 = one for each core we may use
  // Landlock: where the host forbids namespaces, run with less rather than not at all.
  Confinement weakest = Confinement::namespaces;
  std::filesystem::path bwrap;  // empty: looked for on PATH
  std::filesystem::path python = "/usr/bin/python3";
  std::filesystem::path java_home;  // of a Java development kit; empty: Debian's, else the one on PATH
};

// The benchmark's own limits, and the defaults for the rest.
GraderOptions options_for(Benchmark benchmark, Language language);

class Grader {
 public:
  // Starts the sandboxes. Throws Error(bad_input) naming what is missing (bwrap, python3, user
  // namespaces) and the remedy.
  explicit Grader(GraderOptions options);
  ~Grader();
  Grader(const Grader&) = delete;
  Grader& operator=(const Grader&) = delete;

  // In words for people (probe.h).
  const std::string& confined_by() const;

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
