// Carries out the coordinator's orders to a gang on the compute thread, which is also the one that talks MPI.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cluster/collective/collective.h"
#include "kernels/backend.h"
#include "schemas/messages.h"
#include "worker/energy/meter.h"
#include "worker/model/weights.h"
#include "worker/quantize/bit_choice.h"
#include "worker/quantize/calibration.h"
#include "worker/service.h"

namespace quench::worker {

class TaskRunner {
 public:
  TaskRunner(kernels::Backend& backend, cluster::Collective& gang, Service& service);
  // Until the ExitOrder. Throws the Error that ends this rank, with the order it was carrying out.
  void run();

 private:
  // What can be wrong with a job beside its weights is found before its first artifact is made: the
  // tokenizer, the calibration text, the sandbox.
  void prepare(const JobSpec& job, const WeightSource& source);
  CalibrationSet fetch_calibration(const CalibrationSpec& spec, const Tokenizer& tokenizer);
  void quantize(const QuantizeOrder& order);

  kernels::Backend& backend_;
  cluster::Collective& gang_;
  Service& service_;
  std::optional<CalibrationSet> calibration_;  // of this gang's one job
  bool prepared_ = false;
  PricedModel priced_;  // for the next budget
  EnergyMeter energy_{energy_meter_options()};
};

}  // namespace quench::worker
