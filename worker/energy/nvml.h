// GPU energy from NVIDIA's management library, loaded when it is there: Quench is not linked with it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "schemas/messages.h"
#include "worker/energy/counter.h"

namespace quench::worker {

// The counters of every GPU that this process may use. `library` is the name or path given to dlopen;
// `visible` is CUDA_VISIBLE_DEVICES: UUIDs (or their beginnings) or numbers; nothing: all GPUs. GPUs before
// Volta have no counter; the note names them.
EnergyCounters nvml_counters(const std::string& library, const std::optional<std::string>& visible);

// The same GPUs as they are now: name, memory in use by all processes, power. None where there is no NVML.
class NvmlGpus {
 public:
  NvmlGpus(const std::string& library, const std::optional<std::string>& visible);
  ~NvmlGpus();
  std::vector<GpuStatus> read();

 private:
  struct Devices;
  std::unique_ptr<Devices> devices_;
};

}  // namespace quench::worker
