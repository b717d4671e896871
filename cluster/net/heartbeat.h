// When to send a heartbeat and when a peer counts as lost: arithmetic on times handed in, so that it is
// tested with a fake clock. Belongs to one connection; its loop's thread.
#pragma once

#include <chrono>
#include <cstdint>

namespace quench::cluster {

class HeartbeatClock {
 public:
  using Time = std::chrono::steady_clock::time_point;
  enum class Action { wait, send, lost };
  struct Decision {
    Action action = Action::wait;
    Time look_again;  // ask again then, or when something changes
  };

  // Sends when nothing was sent for `send_ms`; lost when nothing was received for `silence_ms_max`.
  // Throws Error(bad_input) unless 0 < send_ms < silence_ms_max.
  HeartbeatClock(std::uint32_t send_ms, std::uint32_t silence_ms_max, Time now);

  void on_sent(Time now) { last_sent_ = now; }
  // Any bytes are a sign of life: a large chunk on a slow line takes longer than the silence allowed.
  void on_received(Time now) { last_received_ = now; }
  // While we do not read, the peer's silence is our doing.
  void on_reading_resumed(Time now) {
    last_received_ = now;
    reading_ = true;
  }
  void on_reading_paused() { reading_ = false; }

  Decision decide(Time now) const;
  std::uint32_t silence_ms_max() const { return static_cast<std::uint32_t>(silence_max_.count()); }

 private:
  std::chrono::milliseconds send_;
  std::chrono::milliseconds silence_max_;
  Time last_sent_;
  Time last_received_;
  bool reading_ = true;
};

}  // namespace quench::cluster
