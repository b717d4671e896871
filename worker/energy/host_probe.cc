#include "worker/energy/host_probe.h"

#include "schemas/error.h"
#include "worker/energy/rapl.h"

namespace quench::worker {

HostProbe::HostProbe(const EnergyMeterOptions& options)
    : processors_(rapl_counters(options.powercap)), gpus_(options.nvml, options.visible_gpus) {}

WorkerStatus HostProbe::read() {
  using Clock = std::chrono::steady_clock;
  WorkerStatus status;
  status.gpus = gpus_.read();
  const Clock::time_point now = Clock::now();
  double joules = 0;
  try {
    for (const auto& counter : processors_.counters) joules += counter->joules();
  } catch (const Error& error) {
    processors_.counters.clear();
    processors_.note = error.what();
  }
  status.energy_note = processors_.note;
  if (processors_.counters.empty()) return status;
  if (last_read_ != Clock::time_point{})
    status.watts = (joules - last_joules_) / std::chrono::duration<double>(now - last_read_).count();
  last_read_ = now;
  last_joules_ = joules;
  return status;
}

}  // namespace quench::worker
