#include "cluster/net/heartbeat.h"

#include <algorithm>
#include <string>

#include "schemas/error.h"

namespace quench::cluster {

HeartbeatClock::HeartbeatClock(std::uint32_t send_ms, std::uint32_t silence_ms_max, Time now)
    : send_(send_ms), silence_max_(silence_ms_max), last_sent_(now), last_received_(now) {
  if (send_ms == 0 || send_ms >= silence_ms_max)
    throw Error(ErrorCode::bad_input,
                "heartbeats every " + std::to_string(send_ms) + " ms with " + std::to_string(silence_ms_max) +
                    " ms of silence allowed: the first must be above 0 and below the second");
}

HeartbeatClock::Decision HeartbeatClock::decide(Time now) const {
  const Time lost_at = last_received_ + silence_max_;
  if (reading_ && now >= lost_at) return {Action::lost, now};
  const Time send_at = last_sent_ + send_;
  if (now >= send_at) return {Action::send, now + send_};
  return {Action::wait, reading_ ? std::min(send_at, lost_at) : send_at};
}

}  // namespace quench::cluster
