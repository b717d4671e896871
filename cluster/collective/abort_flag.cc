#include <utility>

#include "cluster/collective/collective.h"

namespace quench::cluster {

void AbortFlag::set(Error reason) {
  const std::lock_guard lock(mutex_);
  if (reason_) return;  // the first reason is the cause, later ones its consequences
  reason_ = std::move(reason);
  is_set_.store(true, std::memory_order_release);
}

void AbortFlag::check() const {
  if (!is_set()) return;
  const std::lock_guard lock(mutex_);
  throw Error(*reason_);
}

void AbortFlag::excuse() { excused_ = true; }

void AbortFlag::end_excuse() {
  counts_from_ = std::chrono::steady_clock::now().time_since_epoch().count();
  excused_ = false;
}

bool AbortFlag::is_late(std::chrono::steady_clock::duration waited, std::uint32_t progress_ms_max) const {
  const std::chrono::milliseconds limit(progress_ms_max);
  const std::chrono::steady_clock::duration counts_from(counts_from_.load());
  return waited >= limit && !excused_ && std::chrono::steady_clock::now().time_since_epoch() - counts_from >= limit;
}

}  // namespace quench::cluster
