// Processor and memory energy from Linux's powercap tree (intel-rapl, which AMD's processors use as well).
#pragma once

#include <filesystem>

#include "worker/energy/counter.h"

namespace quench::worker {

// Every package zone and every dram zone below `powercap` whose energy_uj can be read. core, uncore and psys
// are left out: they are parts of what packages count, or hold them. The counters wrap at
// max_energy_range_uj (some minutes of a busy processor): joules() must be called more often than that.
EnergyCounters rapl_counters(const std::filesystem::path& powercap);

}  // namespace quench::worker
