#include "worker/evaluate/sandbox/attempt.h"

#include <utility>

namespace quench::worker {

void conclude(Attempt& attempt, VerdictResult result, std::string words) {
  attempt.execution.result = result;
  attempt.execution.detail = std::move(words);
}

bool conclude_by_limits(Attempt& attempt, const Report& report, bool passed, const SandboxLimits& limits, std::uint32_t wall_ms) {
  if (const auto broken = broken_limit(report)) {
    conclude(attempt, *broken, in_words(*broken, limits));
  } else if (is_borderline(report, limits)) {
    conclude(attempt, VerdictResult::timed_out, in_words(VerdictResult::timed_out, limits));
    attempt.inconclusive = true;
  } else if (passed) {
    conclude(attempt, VerdictResult::passed, "");
  } else if (report.reason == "timed_out" || ran_out_of_cpu(report, limits)) {
    conclude(attempt, VerdictResult::timed_out, in_words(VerdictResult::timed_out, limits));
    attempt.inconclusive = starved(report, wall_ms);
  } else {
    return false;
  }
  return true;
}

Attempt attempt_of_lost_sandbox(const Error& error, const std::optional<std::string>& out_of_memory) {
  Attempt attempt;
  if (out_of_memory) {
    conclude(attempt, VerdictResult::out_of_memory, *out_of_memory);
  } else {
    attempt.execution.detail = error.what();
    attempt.inconclusive = true;
  }
  return attempt;
}

}  // namespace quench::worker
