#include "cluster/net/send_queue.h"

#include <string>
#include <utility>

namespace quench::cluster {

bool SendQueue::fits(std::size_t frame_bytes, std::size_t bound) const {
  // One frame always fits, so that a bound below the largest frame cannot block it for ever.
  return frames_.empty() || (bytes_ + frame_bytes <= bound && frames_.size() < kSendQueueFramesMax);
}

bool SendQueue::push(OutgoingFrame&& frame) {
  const std::lock_guard lock(mutex_);
  if (closed_ || !fits(frame.bytes(), bytes_max_)) return false;
  bytes_ += frame.bytes();
  frames_.push_back(std::move(frame));
  return true;
}

void SendQueue::push_waiting(OutgoingFrame&& frame, std::chrono::milliseconds deadline) {
  std::unique_lock lock(mutex_);
  const bool ready =
      room_.wait_for(lock, deadline, [&] { return closed_ || fits(frame.bytes(), bytes_pause_); });
  if (closed_)
    throw Error(ErrorCode::unreachable, std::string("the connection is closed: ") + closed_->what());
  if (!ready)
    throw Error(ErrorCode::timed_out, "the peer took nothing for " + std::to_string(deadline.count()) +
                                          " ms; " + std::to_string(bytes_) + " bytes wait to be sent");
  bytes_ += frame.bytes();
  frames_.push_back(std::move(frame));
}

const OutgoingFrame* SendQueue::front() const {
  const std::lock_guard lock(mutex_);
  return frames_.empty() ? nullptr : &frames_.front();
}

void SendQueue::pop() {
  {
    const std::lock_guard lock(mutex_);
    QUENCH_CHECK(!frames_.empty());
    bytes_ -= frames_.front().bytes();
    frames_.pop_front();
  }
  room_.notify_all();
}

void SendQueue::close(const Error& reason) {
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) closed_ = reason;
  }
  room_.notify_all();
}

std::size_t SendQueue::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace quench::cluster
