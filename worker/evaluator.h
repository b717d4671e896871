// Carries out evaluation orders, in a process without MPI: started by `quench run` beside others, or by
// anyone on a host that reaches the coordinator. Compute thread only.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "kernels/backend.h"
#include "schemas/messages.h"
#include "worker/energy/meter.h"
#include "worker/evaluate/grader.h"
#include "worker/evaluate/model_completions.h"
#include "worker/service.h"

namespace quench::worker {

struct EvaluatorOptions {
  // Where chunks are kept, instead of the order's directory, which is on the coordinator's host; empty and
  // not `local`: nowhere.
  std::filesystem::path cache_dir;
  bool local = false;  // the order's directory is ours too
};

class Evaluator {
 public:
  Evaluator(kernels::Backend& backend, Service& service, EvaluatorOptions options);
  // Until the ExitOrder. Throws the Error that ends this worker.
  void run();

 private:
  void evaluate(const EvaluateOrder& order, PhaseUsage& usage);
  LoadedModel& model(const EvaluateOrder& order);

  kernels::Backend& backend_;
  Service& service_;
  EvaluatorOptions options_;
  std::unique_ptr<Grader> grader_;  // its sandboxes stay warm from one artifact to the next
  EvaluateSpec graded_;             // what it was started for
  // The artifact evaluated last: the next order is often about it too.
  Digest loaded_;
  std::optional<LoadedModel> model_;
  std::uint64_t load_growth_bytes_ = 0;  // of this process while it was loaded
  EnergyMeter energy_{energy_meter_options()};
};

}  // namespace quench::worker
