// The frames waiting to be written on one connection: bounded, filled from any thread, emptied by the
// loop. Thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>

#include "cluster/net/frame.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::cluster {

struct OutgoingFrame {
  FrameHeaderBytes header;
  Bytes control;
  Bytes payload;
  std::size_t bytes() const { return header.size() + control.size() + payload.size(); }
};

class SendQueue {
 public:
  SendQueue(std::size_t bytes_pause, std::size_t bytes_max)
      : bytes_pause_(bytes_pause), bytes_max_(bytes_max) {}

  // False when the queue is beyond its bounds (the frame is dropped) or closed.
  bool push(OutgoingFrame&& frame);
  // Waits until the frame fits below `bytes_pause` or the queue is empty. Throws Error(timed_out) after
  // `deadline`, Error(unreachable) when closed.
  void push_waiting(OutgoingFrame&& frame, std::chrono::milliseconds deadline);
  // The frame to write now; it stays counted until pop(). Null when empty. Loop thread.
  const OutgoingFrame* front() const;
  void pop();
  // Wakes those who wait; keeps the frame at the front, which the kernel may still be reading.
  void close(const Error& reason);

  std::size_t bytes() const;
  bool above_pause() const { return bytes() > bytes_pause_; }

 private:
  bool fits(std::size_t frame_bytes, std::size_t bound) const;

  const std::size_t bytes_pause_;
  const std::size_t bytes_max_;
  mutable std::mutex mutex_;
  std::condition_variable room_;
  std::deque<OutgoingFrame> frames_;  // a deque keeps the front in place while others are added
  std::size_t bytes_ = 0;
  std::optional<Error> closed_;
};

}  // namespace quench::cluster
