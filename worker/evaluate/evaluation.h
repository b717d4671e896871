// One rank's part in scoring an artifact: lease after lease it generates completions from the packed
// weights, executes them in the sandbox and returns the verdicts. Compute thread only.
#pragma once

#include <functional>
#include <memory>

#include "schemas/messages.h"
#include "worker/evaluate/grader.h"
#include "worker/model/transformer.h"
#include "worker/tokenize/tokenizer.h"

namespace quench::worker {

// Where leases come from and verdicts go. The ranks implement it over their link to the coordinator.
class LeaseSource {
 public:
  virtual ~LeaseSource() = default;
  virtual void describe(const BenchmarkInfo& info) = 0;
  // Waits until there is work; no items: the evaluation is over.
  virtual LeaseGrant next_lease(std::uint32_t items_max) = 0;
  virtual void return_verdicts(const VerdictsDone& done) = 0;
};

// A model ready to generate.
struct LoadedModel {
  std::unique_ptr<Transformer> transformer;
  std::unique_ptr<Tokenizer> tokenizer;
  std::string chat_template;  // of its tokenizer_config.json; empty: it has none
};

// Runs until the source has no more leases. The model is loaded at the first lease: an evaluation whose
// verdicts are all kept from before needs none. Throws Error(bad_input) when a prompt does not fit the
// model's context, and whatever `load` and the source throw.
void run_evaluation(const EvaluateSpec& spec, const std::function<LoadedModel()>& load, Grader& grader,
                    LeaseSource& leases);

}  // namespace quench::worker
