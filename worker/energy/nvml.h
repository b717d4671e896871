// GPU energy from NVIDIA's management library, loaded when it is there: Quench is not linked with it.
#pragma once

#include <optional>
#include <string>

#include "worker/energy/counter.h"

namespace quench::worker {

// The counters of every GPU that this process may use. `library` is the name or path given to dlopen;
// `visible` is CUDA_VISIBLE_DEVICES: UUIDs (or their beginnings) or numbers; nothing: all GPUs. GPUs before
// Volta have no counter; the note names them.
EnergyCounters nvml_counters(const std::string& library, const std::optional<std::string>& visible);

}  // namespace quench::worker
