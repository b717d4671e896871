// One job of the service at work: its state and its rim, its log, and what those who watch are told. Event-loop thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "coordinator/http/events.h"
#include "coordinator/job_log.h"
#include "coordinator/job_opening.h"
#include "coordinator/queue/queue.h"
#include "coordinator/service.h"
#include "schemas/service_api.h"

namespace quench::coordinator {

class JobRun final : private ProgressSink {
 public:
  JobRun(JobNumber number, std::shared_ptr<EventHub> events);

  // Its model has been read: opens the job and starts its processes. `on_over` as in Service. Throws what keeps the
  // job from beginning. False when there is nothing left to do.
  bool begin(const QueuedJob& job, const JobSource& source, ServiceOptions options, cluster::Loop& loop,
             StoreServer& store_server, ArtifactStore& store, std::function<void()> on_over);
  // Ends the processes; before begin() it only remembers the reason.
  void stop(const std::string& reason);
  // Why it must not begin.
  const std::optional<std::string>& stop_reason() const { return stop_reason_; }

  // None before begin().
  const State* state() const { return state_ ? &*state_ : nullptr; }
  const JobProgress& progress() const { return progress_; }
  // After on_over.
  JobEnding ending() const;

 private:
  void line(const std::string& text) override;
  void progress(const std::string& what, std::uint32_t done, std::uint32_t total) override;
  void step(const std::string& text) override;
  void block(const std::string& artifact, const BlockDone& done) override;
  void detail(const std::string& text) override;
  void publish_progress();

  JobNumber number_;
  // Shared with those who watch.
  std::shared_ptr<EventHub> events_;
  std::optional<JobLog> log_;
  std::optional<State> state_;
  std::unique_ptr<Service> service_;
  std::optional<std::string> stop_reason_;
  JobProgress progress_;
  std::uint32_t done_at_start_ = 0;
  std::chrono::steady_clock::time_point started_;
};

}  // namespace quench::coordinator
