#include "coordinator/http/metrics.h"

#include <sys/resource.h>

#include <map>

#include "coordinator/clock.h"

namespace quench::coordinator {
namespace {

class Exposition {
 public:
  void family(const std::string& name, const std::string& type, const std::string& help) {
    name_ = name;
    counter_ = type == "counter";
    text_ += "# TYPE " + name + " " + type + "\n# HELP " + name + " " + help + "\n";
  }
  void sample(const std::string& labels, double value) {
    text_ += name_ + (counter_ ? "_total" : "") + (labels.empty() ? "" : "{" + labels + "}") + " ";
    const auto whole = static_cast<std::int64_t>(value);
    text_ += static_cast<double>(whole) == value ? std::to_string(whole) : std::to_string(value);
    text_ += "\n";
  }
  std::string finish() { return text_ + "# EOF\n"; }

 private:
  std::string name_;
  bool counter_ = false;
  std::string text_;
};

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

std::string metrics_text(const Daemon& daemon, const HttpServer* server) {
  const QueueState& state = daemon.queue();
  Exposition out;
  std::map<JobState, std::uint64_t> jobs;
  std::uint64_t starts = 0;
  for (const auto& [number, job] : state.jobs) {
    ++jobs[job.state];
    starts += job.starts;
  }
  out.family("quench_jobs", "gauge", "Jobs by what they are doing.");
  for (const JobState one : {JobState::queued, JobState::running, JobState::cancelling, JobState::done, JobState::failed,
                             JobState::cancelled})
    out.sample("state=\"" + std::string(to_string(one)) + "\"", static_cast<double>(jobs[one]));
  out.family("quench_job_starts", "counter", "Times that jobs were started or went on.");
  out.sample("", static_cast<double>(starts));
  out.family("quench_slots", "gauge", "Ranks that may be at work at once.");
  out.sample("", state.limits.slots);
  out.family("quench_slots_used", "gauge", "Ranks at work.");
  out.sample("", survey(state, unix_now_ms()).slots_used);
  std::uint64_t ranks = 0, evaluators = 0;
  for (const auto& [number, job] : state.jobs)
    if (const JobRun* run = daemon.job_run(number); run != nullptr && run->state() != nullptr) {
      ranks += run->state()->ranks.size();
      evaluators += run->state()->evaluators.size();
    }
  out.family("quench_workers", "gauge", "Connected workers.");
  out.sample("role=\"rank\"", static_cast<double>(ranks));
  out.sample("role=\"evaluator\"", static_cast<double>(evaluators));
  out.family("quench_store_commits", "counter", "Commits of the store, since it was made.");
  out.sample("", static_cast<double>(daemon.store().commit_number()));
  out.family("quench_store_writable", "gauge", "1 while the store takes writes.");
  out.sample("", state.store_fault.empty() ? 1 : 0);
  out.family("quench_events", "counter", "Events published to those who watch.");
  out.sample("", static_cast<double>(daemon.events()->published()));
  if (server != nullptr) {
    out.family("quench_http_connections", "gauge", "Open HTTP connections.");
    out.sample("", static_cast<double>(server->connections()));
    out.family("quench_http_requests", "counter", "Requests that were read whole.");
    out.sample("", static_cast<double>(server->requests()));
    out.family("quench_http_rejected", "counter", "Requests and connections refused unread.");
    out.sample("", static_cast<double>(server->rejected()));
  }
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  out.family("process_cpu_seconds", "counter", "Processor time of the service.");
  out.sample("", seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
  out.family("process_start_time_seconds", "gauge", "When the service was started, Unix time.");
  out.sample("", static_cast<double>(daemon.started_ms()) / 1000);
  return out.finish();
}

}  // namespace quench::coordinator
