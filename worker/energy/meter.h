// Counts the energy of a phase on this host. Every rank has one; as counters belong to the host, the
// coordinator takes each counter once per host. Called by the compute thread; a thread of its own reads the
// counters now and then, because RAPL's wrap within minutes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "schemas/artifact.h"
#include "worker/energy/counter.h"

namespace quench::worker {

struct EnergyMeterOptions {
  std::filesystem::path powercap = "/sys/class/powercap";
  std::string nvml = "libnvidia-ml.so.1";
  std::optional<std::string> visible_gpus;  // CUDA_VISIBLE_DEVICES
  std::chrono::milliseconds idle{2'000};    // how long the idle power is measured
  std::chrono::milliseconds every{10'000};  // between readings that only watch for wrapping
};
// With CUDA_VISIBLE_DEVICES from the environment.
EnergyMeterOptions energy_meter_options();

class EnergyMeter {
 public:
  explicit EnergyMeter(const EnergyMeterOptions& options);
  EnergyMeter(const EnergyMeter&) = delete;
  EnergyMeter& operator=(const EnergyMeter&) = delete;
  ~EnergyMeter();

  // Why counters are missing; empty when none is.
  std::string note() const;
  // Sleeps for `idle` and takes the mean power of that time for the host's idle power; returns at once where
  // there is no counter. Called before the first work.
  void measure_idle();
  void begin();
  // What was counted since begin(). A counter that failed meanwhile is left out and named in the note.
  std::vector<EnergyReading> end();

 private:
  struct Channel {
    std::unique_ptr<EnergyCounter> counter;
    double joules_at_begin = 0;
    double idle_watts = -1;
    bool failed = false;
  };
  // The counter's value; nothing, and the channel out of use, when it cannot be read.
  std::optional<double> read(Channel& channel);
  void watch();

  EnergyMeterOptions options_;
  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable stopping_;
  std::vector<Channel> channels_;
  std::string note_;
  std::chrono::steady_clock::time_point begun_{};
  bool stop_ = false;
  std::thread watcher_;
};

}  // namespace quench::worker
