#include "worker/status_reports.h"

#include <chrono>

#include "worker/energy/host_probe.h"
#include "worker/memory_use.h"

namespace quench::worker {
namespace {

constexpr std::chrono::milliseconds kEvery{2'000};

}  // namespace

StatusReports::StatusReports(Service& service) : service_(service), thread_([this] { run(); }) {}

StatusReports::~StatusReports() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  thread_.join();
}

void StatusReports::run() {
  HostProbe probe(energy_meter_options());
  std::unique_lock lock(mutex_);
  do {
    lock.unlock();
    WorkerStatus status = probe.read();
    status.resident_bytes = resident_bytes();
    try {
      service_.report_status(status);
    } catch (const Error&) {
      return;  // the compute thread meets the same error, and ends the process for it
    }
    lock.lock();
  } while (!stopping_.wait_for(lock, kEvery, [this] { return stop_; }));
}

}  // namespace quench::worker
