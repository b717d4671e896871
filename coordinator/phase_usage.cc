#include "coordinator/phase_usage.h"

#include <algorithm>

#include "schemas/error.h"

namespace quench::coordinator {

void keep_phase_usage(const State& state, Outbox& outbox, ConnectionId from, const std::string& host,
                      std::uint32_t process, const UsageDone& done) {
  PhaseUsage usage = done.usage;
  usage.host = host;
  usage.rank = process;
  usage.attempt = state.attempt.value;
  std::uint32_t artifact = done.artifact;
  if (done.evaluation != kNoEvaluation) {
    const auto found = std::find_if(state.artifacts.begin(), state.artifacts.end(),
                                    [&](const auto& one) { return one.published == done.published; });
    artifact = static_cast<std::uint32_t>(found - state.artifacts.begin());
  }
  if (artifact >= state.artifacts.size() ||
      (done.evaluation != kNoEvaluation && done.evaluation >= state.job.evaluate.size()))
    throw Error(ErrorCode::bad_input, "UsageDone of an unknown phase came out of order");
  outbox.keep_usage(artifact, done.evaluation, usage);
  outbox.send(from, UsageKept{});
}

}  // namespace quench::coordinator
