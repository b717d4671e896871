#include "coordinator/http/events.h"

#include <algorithm>
#include <map>
#include <utility>

namespace quench::coordinator {
namespace {

// As much as one write to a watcher takes.
constexpr std::size_t kTakeBytesMax = 256u << 10;

}  // namespace

struct EventHub::Ring {
  struct Event {
    std::uint64_t id = 0;
    JobNumber job = 0;
    std::string text;
  };
  std::deque<Event> events;
  std::size_t bytes = 0;
  std::uint64_t next_id = 1;
  std::map<const EventFeed*, std::function<void()>> waiting;  // each feed once
};

class EventHub::Feed final : public EventFeed {
 public:
  Feed(std::shared_ptr<Ring> ring, std::optional<JobNumber> job, std::uint64_t last_id)
      : ring_(std::move(ring)), job_(job), last_id_(last_id) {}
  ~Feed() override { ring_->waiting.erase(this); }

  std::string take() override {
    std::string text;
    if (!greeted_) text = "retry: 2000\n\n";
    greeted_ = true;
    const std::uint64_t oldest = ring_->events.empty() ? ring_->next_id : ring_->events.front().id;
    if (last_id_ + 1 < oldest) {
      text += "event: lost\ndata: {\"events\":" + std::to_string(oldest - last_id_ - 1) + "}\n\n";
      last_id_ = oldest - 1;
    }
    const auto first = std::upper_bound(ring_->events.begin(), ring_->events.end(), last_id_,
                                        [](std::uint64_t id, const Ring::Event& event) { return id < event.id; });
    for (auto event = first; event != ring_->events.end() && text.size() < kTakeBytesMax; ++event) {
      last_id_ = event->id;
      if (!job_ || *job_ == event->job) text += event->text;
    }
    return text;
  }
  void wait(std::function<void()> wake) override { ring_->waiting[this] = std::move(wake); }

 private:
  std::shared_ptr<Ring> ring_;
  std::optional<JobNumber> job_;
  std::uint64_t last_id_;
  bool greeted_ = false;
};

EventHub::EventHub() : ring_(std::make_shared<Ring>()) {}
EventHub::~EventHub() { ring_->waiting.clear(); }

void EventHub::publish(const std::string& type, JobNumber job, const std::string& data) {
  const std::uint64_t id = ring_->next_id++;
  std::string text = "id: " + std::to_string(id) + "\nevent: " + type + "\ndata: " + data + "\n\n";
  ring_->bytes += text.size();
  ring_->events.push_back({id, job, std::move(text)});
  while (ring_->events.size() > kEventsMax || (ring_->bytes > kBytesMax && ring_->events.size() > 1)) {
    ring_->bytes -= ring_->events.front().text.size();
    ring_->events.pop_front();
  }
  for (const auto& [feed, wake] : std::exchange(ring_->waiting, {})) wake();
}

std::shared_ptr<EventFeed> EventHub::feed(std::optional<JobNumber> job, std::optional<std::uint64_t> last_id) {
  const std::uint64_t newest = ring_->next_id - 1;
  // An id from before a restart of the service is larger than any of ours: from now on, then.
  return std::make_shared<Feed>(ring_, job, last_id && *last_id <= newest ? *last_id : newest);
}

std::uint64_t EventHub::published() const { return ring_->next_id - 1; }

}  // namespace quench::coordinator
