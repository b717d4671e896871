// Generation and execution overlap: the compute thread generates the next lease's completions while this
// queue's thread executes those of the lease before and returns its verdicts. The queue is bounded, so that
// a slow sandbox slows generation instead of holding leases that others could work on.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "schemas/messages.h"
#include "worker/evaluate/completion_source.h"

namespace quench::worker {

struct GeneratedLease {
  LeaseGrant grant;
  std::vector<GeneratedText> texts;  // in the order of the grant's items
};

class ExecutionQueue {
 public:
  // `execute` runs on the queue's thread, one lease at a time in the order of put(), and delivers the
  // verdicts itself. When it throws, the queue has failed: what waits is dropped (its leases go to others once
  // this worker ends), `on_failure` is called once on the queue's thread, and put() and finish() throw.
  using Execute = std::function<void(const GeneratedLease&)>;
  using OnFailure = std::function<void(std::exception_ptr)>;
  ExecutionQueue(Execute execute, OnFailure on_failure, std::size_t waiting_max = 1);
  ~ExecutionQueue();  // drops what waits, lets what runs end
  ExecutionQueue(const ExecutionQueue&) = delete;
  ExecutionQueue& operator=(const ExecutionQueue&) = delete;

  // Waits while `waiting_max` leases wait besides the one that is executed.
  void put(GeneratedLease lease);
  // Waits until everything put was executed.
  void finish();

 private:
  void serve();

  Execute execute_;
  OnFailure on_failure_;
  std::size_t waiting_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<GeneratedLease> waiting_;
  bool executing_ = false;
  bool closing_ = false;
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace quench::worker
