// What came of running one answer, and what every kind of sandbox concludes from a report alike. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "schemas/artifact.h"
#include "schemas/error.h"
#include "worker/evaluate/sandbox/limits.h"
#include "worker/evaluate/sandbox/report.h"

namespace quench::worker {

// What became of one answer. compile_error: the answer is not Python; sandbox_violation: it made a
// system call that no answer has a use for; failed: an assertion, an exception, an exit, a missing
// function.
struct Execution {
  VerdictResult result = VerdictResult::failed;
  std::uint64_t cpu_ms = 0;  // of the answer and its tests together
  std::uint64_t wall_ms = 0;
  std::string detail;       // one line: "AssertionError", "NameError: name 'x' is not defined"
  std::string stderr_tail;  // at most 2 KiB, valid UTF-8
  bool isolated = true;     // answer and tests ran in different processes
  Confinement confinement = Confinement::namespaces;
  bool passed() const { return result == VerdictResult::passed; }
};

// An execution, and whether it says something about the host rather than about the answer: it ran out of
// wall clock while it waited for a core, or a sandbox broke. Such an answer is run once more, alone.
struct Attempt {
  Execution execution;
  bool inconclusive = false;
  // Nothing ran: the tests use a class of the answer, so they can only run in one process with it. The problem says so,
  // never the answer.
  bool needs_one_process = false;
};

void conclude(Attempt& attempt, VerdictResult result, std::string words);
// Limits first, then whether it passed, then time. False where none of them says anything.
bool conclude_by_limits(Attempt& attempt, const Report& report, bool passed, const SandboxLimits& limits, std::uint32_t wall_ms);
// Of a sandbox that died or fell silent: nothing it says counts any more. But the kernel tells a group that reached its memory limit
// from one that somebody killed; then `out_of_memory` are the words.
Attempt attempt_of_lost_sandbox(const Error& error, const std::optional<std::string>& out_of_memory);

}  // namespace quench::worker
