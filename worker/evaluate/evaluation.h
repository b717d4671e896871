// One worker's part in scoring an artifact: lease after lease it generates completions, executes them in the
// sandbox and returns the verdicts. The next lease is generated while the last one is executed; its request hands the
// texts of the last one in, so that what is generated is not generated again when this worker dies.
#pragma once

#include <functional>
#include <memory>

#include "schemas/messages.h"
#include "worker/evaluate/completion_source.h"
#include "worker/evaluate/grader.h"

namespace quench::worker {

// Completions per lease and per batch: enough rows to fill the lanes of decoding, few enough that a
// lost worker costs little.
inline constexpr std::uint32_t kLeaseItems = 32;

// Where leases come from and verdicts go; a worker implements it over its link to the coordinator.
// describe and next_lease are called by the compute thread, the others by any.
class LeaseSource {
 public:
  virtual ~LeaseSource() = default;
  virtual void describe(const BenchmarkInfo& info) = 0;
  // Waits until there is work; no items: nothing is left for this worker.
  virtual LeaseGrant next_lease(const LeaseRequest& request) = 0;
  virtual void renew_lease(const LeaseRenewal& renewal) = 0;
  virtual void return_verdicts(const VerdictsDone& done) = 0;
  // Makes a waiting or later next_lease throw `reason`.
  virtual void abandon(const Error& reason) = 0;
};

using OpenCompletions = std::function<std::unique_ptr<CompletionSource>(const ProblemSet& problems)>;

// What overlapping gained: `seconds` is less than the sum of the others.
struct EvaluationTimes {
  std::uint32_t completions = 0;
  double generating_seconds = 0;
  double executing_seconds = 0;
  double seconds = 0;  // from the first lease to the last verdict
};

// Runs until the source has no more leases for this worker and the verdicts of those it had are returned.
// The completions are opened at the first lease: an evaluation whose verdicts are all kept from before needs
// no model. `number` is the order's. Throws what `open`, the completions, the grader and the source throw; of
// the leases that were out then, none has a part of its verdicts returned.
EvaluationTimes run_evaluation(const EvaluateSpec& spec, std::uint32_t number, const OpenCompletions& open,
                               Grader& grader, LeaseSource& leases);

}  // namespace quench::worker
