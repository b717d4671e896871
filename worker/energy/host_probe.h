// What this host's hardware says now, for those who watch a job: GPUs and power. A thread of its own calls.
#pragma once

#include <chrono>

#include "schemas/messages.h"
#include "worker/energy/counter.h"
#include "worker/energy/meter.h"
#include "worker/energy/nvml.h"

namespace quench::worker {

class HostProbe {
 public:
  explicit HostProbe(const EnergyMeterOptions& options);
  // Power is the mean since the last call; the first one has none. The memory is the caller's business.
  WorkerStatus read();

 private:
  EnergyCounters processors_;
  NvmlGpus gpus_;
  std::chrono::steady_clock::time_point last_read_{};
  double last_joules_ = 0;
};

}  // namespace quench::worker
