// What one order takes in this process: time, memory, and the energy of this host, told to the coordinator.
// Compute thread only.
#pragma once

#include <functional>

#include "schemas/messages.h"
#include "worker/energy/meter.h"
#include "worker/service.h"

namespace quench::worker {

// Runs `work`, which may add to the usage what only it knows, and hands `done` over; returns when the coordinator
// keeps it. Throws what `work` and the service throw.
void measure_phase(EnergyMeter& energy, Service& service, UsageDone done,
                   const std::function<void(PhaseUsage&)>& work);

}  // namespace quench::worker
