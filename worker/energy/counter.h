// Energy counters of the host: RAPL for processors and memory (rapl.h), NVML for GPUs (nvml.h). A counter
// only ever reports what hardware counted; where none can be read there is a note that says why, and no
// number.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace quench::worker {

class EnergyCounter {
 public:
  virtual ~EnergyCounter() = default;
  // The same on every rank of a host: "rapl package-0", "nvml GPU-…".
  virtual const std::string& name() const = 0;
  // Joules since an unspecified moment, never falling. Throws Error(failed) when it cannot be read any more.
  virtual double joules() = 0;
};

struct EnergyCounters {
  std::vector<std::unique_ptr<EnergyCounter>> counters;
  std::string note;  // why some or all are missing; empty when nothing is
};

}  // namespace quench::worker
