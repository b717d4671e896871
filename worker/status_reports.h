// Tells the coordinator every few seconds what this process and its host take now. A thread of its own, because the compute
// thread may be in a kernel for minutes.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "worker/service.h"

namespace quench::worker {

class StatusReports {
 public:
  // `service` must outlive it.
  explicit StatusReports(Service& service);
  ~StatusReports();
  StatusReports(const StatusReports&) = delete;
  StatusReports& operator=(const StatusReports&) = delete;

 private:
  void run();

  Service& service_;
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace quench::worker
