// Events for whoever watches: the newest are kept, each watcher reads at his own pace, and one who is too slow is told
// what he missed instead of being waited for. Event-loop thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "coordinator/http/exchange.h"
#include "coordinator/queue/queue_state.h"

namespace quench::coordinator {

class EventHub {
 public:
  // What is kept for those who come back with Last-Event-ID, and for the slow.
  static constexpr std::size_t kEventsMax = 8192;
  static constexpr std::size_t kBytesMax = 8u << 20;

  EventHub();
  ~EventHub();

  // `data` is one line of JSON.
  void publish(const std::string& type, JobNumber job, const std::string& data);
  // Events of one job, or of all; from behind `last_id`, or from now on.
  std::shared_ptr<EventFeed> feed(std::optional<JobNumber> job, std::optional<std::uint64_t> last_id);
  std::uint64_t published() const;

 private:
  struct Ring;
  class Feed;
  // Shared with the feeds, which outlive the hub when the loop is destroyed behind it.
  std::shared_ptr<Ring> ring_;
};

}  // namespace quench::coordinator
