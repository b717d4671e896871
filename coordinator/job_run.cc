#include "coordinator/job_run.h"

#include <algorithm>
#include <utility>

#include "coordinator/reactor.h"
#include "schemas/service_json.h"

namespace quench::coordinator {

JobRun::JobRun(JobNumber number, std::shared_ptr<EventHub> events) : number_(number), events_(std::move(events)) {
  progress_.step = "reading the model";
}

bool JobRun::begin(const QueuedJob& job, const JobSource& source, ServiceOptions options, cluster::Loop& loop,
                   StoreServer& store_server, ArtifactStore& store, std::function<void()> on_over) {
  state_.emplace(open_or_accept(store, job.job, source));
  log_.emplace(log_file(store, state_->job_id));
  progress_.step.clear();
  if (is_complete(*state_)) {
    line("done before, nothing to run");
    return false;
  }
  ProgressSink& sink = *this;
  service_ = std::make_unique<Service>(std::move(options), loop, store_server, store, *state_, sink, std::move(on_over));
  service_->start();
  return true;
}

void JobRun::stop(const std::string& reason) {
  if (!stop_reason_) stop_reason_ = reason;
  if (service_) service_->stop(reason);
}

JobEnding JobRun::ending() const {
  if (!state_) return {false, ErrorCode::interrupted, stop_reason_.value_or("stopped before it began")};
  if (is_complete(*state_)) return {true, {}, {}};
  if (state_->failure) return {false, state_->failure->code, state_->failure->message};
  return {false, ErrorCode::failed, "it ended before its work"};
}

void JobRun::line(const std::string& text) {
  detail(text);
  events_->publish("log", number_, to_json(LogEvent{number_, text}));
}

void JobRun::progress(const std::string& what, std::uint32_t done, std::uint32_t total) {
  const auto now = std::chrono::steady_clock::now();
  if (what != progress_.what) {
    started_ = now;
    done_at_start_ = done;
  }
  progress_ = {what, done, total, {}, -1};
  const std::uint32_t worked = done - std::min(done, done_at_start_);
  if (worked > 0 && done <= total) {
    const std::chrono::duration<double> spent = now - started_;
    progress_.seconds_left = spent.count() / worked * (total - done);
  }
  detail(what + ": " + std::to_string(done) + " of " + std::to_string(total));
  publish_progress();
}

void JobRun::step(const std::string& text) {
  if (text == progress_.step) return;
  progress_.step = text;
  publish_progress();
}

void JobRun::publish_progress() {
  events_->publish("progress", number_, to_json(ProgressEvent{number_, progress_}));
}

void JobRun::block(const std::string& artifact, const BlockDone& done) {
  for (const LinearLoss& loss : done.losses) detail(loss_line(loss));
  events_->publish("block", number_, to_json(BlockEvent{number_, artifact, {done.block, done.seconds, done.losses}}));
}

void JobRun::detail(const std::string& text) {
  if (log_) log_->write(text);
}

}  // namespace quench::coordinator
