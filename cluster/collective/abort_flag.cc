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

}  // namespace quench::cluster
