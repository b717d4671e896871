#include "coordinator/store/open_publishes.h"

namespace quench::coordinator {

void OpenPublishes::touch(const Digest& digest) {
  const std::lock_guard lock(mutex_);
  Touched& touched = touched_[digest];
  ++touched.times;
  touched.last = Clock::now();
}

void OpenPublishes::settle(std::span<const Digest> digests) {
  const std::lock_guard lock(mutex_);
  for (const Digest& digest : digests) {
    if (const auto found = touched_.find(digest); found != touched_.end() && --found->second.times == 0) touched_.erase(found);
    if (collecting_) settled_.insert(digest);
  }
}

bool OpenPublishes::holds(const Digest& digest) const {
  const std::lock_guard lock(mutex_);
  return touched_.contains(digest) || settled_.contains(digest);
}

std::size_t OpenPublishes::size() const {
  const std::lock_guard lock(mutex_);
  return touched_.size();
}

void OpenPublishes::begin_collection(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  collecting_ = true;
  std::erase_if(touched_, [&](const auto& entry) { return now - entry.second.last > kGivenUp; });
}

void OpenPublishes::end_collection() {
  const std::lock_guard lock(mutex_);
  collecting_ = false;
  settled_.clear();
}

}  // namespace quench::coordinator
