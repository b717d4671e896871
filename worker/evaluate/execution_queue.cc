#include "worker/evaluate/execution_queue.h"

#include <utility>

namespace quench::worker {

ExecutionQueue::ExecutionQueue(Execute execute, OnFailure on_failure, std::size_t waiting_max)
    : execute_(std::move(execute)),
      on_failure_(std::move(on_failure)),
      waiting_max_(waiting_max),
      thread_([this] { serve(); }) {}

ExecutionQueue::~ExecutionQueue() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    waiting_.clear();
  }
  changed_.notify_all();
  thread_.join();
}

void ExecutionQueue::put(GeneratedLease lease) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return failure_ || waiting_.size() < waiting_max_; });
  if (failure_) std::rethrow_exception(failure_);
  waiting_.push_back(std::move(lease));
  changed_.notify_all();
}

void ExecutionQueue::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return failure_ || (waiting_.empty() && !executing_); });
  if (failure_) std::rethrow_exception(failure_);
}

void ExecutionQueue::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return closing_ || !waiting_.empty(); });
    if (closing_) return;
    const GeneratedLease lease = std::move(waiting_.front());
    waiting_.pop_front();
    executing_ = true;
    changed_.notify_all();
    lock.unlock();
    std::exception_ptr failure;
    try {
      execute_(lease);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    executing_ = false;
    if (failure) {
      failure_ = failure;
      waiting_.clear();
    }
    changed_.notify_all();
    if (!failure) continue;
    lock.unlock();
    if (on_failure_) on_failure_(failure);
    return;
  }
}

}  // namespace quench::worker
