#include "worker/phase_usage.h"

#include <chrono>

#include "worker/memory_use.h"

namespace quench::worker {

void measure_phase(EnergyMeter& energy, Service& service, UsageDone done,
                   const std::function<void(PhaseUsage&)>& work) {
  energy.begin();
  const auto started = std::chrono::steady_clock::now();
  work(done.usage);
  done.usage.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  done.usage.energy = energy.end();
  done.usage.energy_note = energy.note();
  done.usage.resident_peak_bytes = resident_peak_bytes();
  service.keep_usage(done);
}

}  // namespace quench::worker
