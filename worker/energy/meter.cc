#include "worker/energy/meter.h"

#include <cstdlib>
#include <iterator>
#include <utility>

#include "schemas/error.h"
#include "worker/energy/nvml.h"
#include "worker/energy/rapl.h"

namespace quench::worker {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

EnergyMeterOptions energy_meter_options() {
  EnergyMeterOptions options;
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES"); visible != nullptr)
    options.visible_gpus = visible;
  return options;
}

EnergyMeter::EnergyMeter(const EnergyMeterOptions& options) : options_(options) {
  EnergyCounters rapl = rapl_counters(options.powercap);
  EnergyCounters nvml = nvml_counters(options.nvml, options.visible_gpus);
  for (EnergyCounters* found : {&rapl, &nvml}) {
    for (auto& counter : found->counters) channels_.push_back({std::move(counter), 0, -1, false});
    if (!found->note.empty()) note_ += (note_.empty() ? "" : "; ") + found->note;
  }
  if (!channels_.empty()) watcher_ = std::thread([this] { watch(); });
}

EnergyMeter::~EnergyMeter() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  if (watcher_.joinable()) watcher_.join();
}

std::string EnergyMeter::note() const {
  const std::lock_guard lock(mutex_);
  return note_;
}

std::optional<double> EnergyMeter::read(Channel& channel) {
  if (channel.failed) return std::nullopt;
  try {
    return channel.counter->joules();
  } catch (const Error& error) {
    channel.failed = true;
    note_ += (note_.empty() ? "" : "; ") + std::string(error.what());
    return std::nullopt;
  }
}

void EnergyMeter::watch() {
  std::unique_lock lock(mutex_);
  while (!stopping_.wait_for(lock, options_.every, [this] { return stop_; }))
    for (Channel& channel : channels_) read(channel);
}

void EnergyMeter::measure_idle() {
  if (channels_.empty()) return;
  std::vector<std::optional<double>> before;
  const Clock::time_point start = Clock::now();
  {
    const std::lock_guard lock(mutex_);
    for (Channel& channel : channels_) before.push_back(read(channel));
  }
  std::this_thread::sleep_for(options_.idle);
  const std::lock_guard lock(mutex_);
  const double seconds = seconds_since(start);
  for (std::size_t i = 0; i < channels_.size(); ++i)
    if (const auto after = read(channels_[i]); after && before[i])
      channels_[i].idle_watts = (*after - *before[i]) / seconds;
}

void EnergyMeter::begin() {
  const std::lock_guard lock(mutex_);
  begun_ = Clock::now();
  for (Channel& channel : channels_) channel.joules_at_begin = read(channel).value_or(0);
}

std::vector<EnergyReading> EnergyMeter::end() {
  const std::lock_guard lock(mutex_);
  std::vector<EnergyReading> readings;
  for (Channel& channel : channels_)
    if (const auto joules = read(channel))
      readings.push_back({channel.counter->name(), *joules - channel.joules_at_begin, seconds_since(begun_),
                          channel.idle_watts});
  return readings;
}

}  // namespace quench::worker
