// `quench serve`: one store, one loop, a queue, many jobs at work. The rim of the queue as Service is of one job: it
// records what the queue decides, starts and ends jobs, and tells those who watch. HTTP comes in through http/api.h.
// Everything on the loop's thread but what run_aside is given.
#pragma once

#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "coordinator/http/access.h"
#include "coordinator/http/events.h"
#include "coordinator/job_run.h"
#include "coordinator/queue/queue.h"
#include "coordinator/store/artifact_store.h"
#include "coordinator/store_server.h"
#include "coordinator/user_bytes.h"
#include "schemas/service_api.h"

namespace quench::coordinator {

struct DaemonOptions {
  ServeConfig config;
  std::filesystem::path worker;  // the quench-worker program
  std::string build;
  // How gangs are started.
  cluster::LauncherSettings launcher = {};
  std::optional<cluster::Endpoint> worker_listen;  // for ranks and evaluation workers of other hosts
};

class Daemon final : private QueueOutbox {
 public:
  // Opens the store and replays the service's journal. Throws Error(bad_input) when another process holds the store.
  Daemon(DaemonOptions options, StoreCommandRunner run_command);
  ~Daemon() override;
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Goes on with what was at work, then serves until a signal stops it and no process of a job is left.
  void run();

  // --- What HTTP asks for ---------------------------------------------------------------------
  // The job must have passed check_submission. Each throws QueueRefusal, or Error(failed) when the store takes no writes.
  JobNumber submit(const JobSpec& job, std::int32_t priority, const QueueCaller& caller, const SubmittedBytes& bytes = {},
                   const std::vector<JobNumber>& after = {});
  void cancel(JobNumber number, const std::string& reason, const QueueCaller& caller);
  void retry(JobNumber number, const QueueCaller& caller);
  NewToken create_token(const TokenRequest& request, const std::string& by);
  void revoke_token(const std::string& id, const std::string& by);
  // What another store's transfer publishes here, its names in the audit log. Any thread.
  void publish(Commit commit, const std::vector<std::pair<std::string, Digest>>& names, const std::string& by, std::int64_t now_ms);
  void set_name(const std::string& name, const Digest& artifact, const std::string& by);

  // Reads what a job needs and resolves its calibration set; minutes are possible. Any thread. Throws Error(bad_input).
  JobSpec check_submission(const JobSpec& job) const;

  // What counts against the user's bytesPerUserMax, to be handed to stored_bytes().
  UserWork work_of(const std::string& user) const;
  // What of it lies in the store. Reads journals and manifests that were not read before. Any thread.
  std::uint64_t stored_bytes(const std::string& user, const UserWork& work) const;
  UserBytes& user_bytes() { return user_bytes_; }

  JobView view(JobNumber number) const;
  // What is known without the store, and the job's state while it is at work.
  const JobRun* job_run(JobNumber number) const;
  const QueueState& queue() const { return queue_; }
  const AccessTable& access() const { return access_; }
  const ArtifactStore& store() const { return store_; }
  ArtifactStore& store() { return store_; }
  const std::shared_ptr<EventHub>& events() const { return events_; }
  cluster::Loop& loop() { return loop_; }
  const ServeConfig& config() const { return options_.config; }
  std::int64_t started_ms() const { return started_ms_; }
  std::vector<quench::JournalEvent> journal() const;
  // Every change of the job, without its job file.
  const std::vector<JobMoved>& history(JobNumber number) const { return history_.at(number); }

  // Runs `work` on a thread of the pool and what it returns on the loop.
  void run_aside(std::function<std::function<void()>()> work);
  // After run(): false when something still runs aside, such as the verification of a large store.
  bool nothing_aside(std::chrono::milliseconds deadline) const;

 private:
  void record(const JobMoved& moved) override;
  void start(const QueuedJob& job) override;
  void stop(JobNumber number, const std::string& reason) override;

  struct LeftGang {
    std::unique_ptr<cluster::GangFolder> folder;
    Digest source;  // of the model that its ranks have open
  };
  void find_left_gangs();
  // Of a job that is at its end.
  void end_left_gang(JobNumber number);

  void write(const quench::JournalEvent& event);
  void remember(const JobMoved& moved);
  void on_model_read(JobNumber number, const JobSource& source);
  void end_job(JobNumber number, const JobEnding& ending);
  // Starts what fits and tells of what changed; an error of the disk holds the queue until the store is opened again.
  void settle();
  // Runs a decision, then settles.
  void decide(const std::function<void()>& decision);
  void on_store_fault(const Error& error);
  void schedule_tick();
  void on_tick();
  void stop_if_over();

  DaemonOptions options_;
  cluster::Loop loop_;
  ArtifactStore store_;
  std::shared_ptr<EventHub> events_;  // shared with those who watch, whose connections the loop destroys last
  mutable UserBytes user_bytes_;
  std::map<std::string, std::set<Digest>> named_by_;  // user to artifacts: published by transfer, or given a name
  QueueState queue_;
  AccessTable access_;
  StoreServer store_server_;
  std::map<JobNumber, std::unique_ptr<JobRun>> runs_;
  // Of jobs that were at work when the last service died: ours from the beginning, so that no launcher takes them for dead.
  std::map<JobNumber, LeftGang> left_gangs_;
  std::map<JobNumber, JobEnding> unrecorded_;  // ended while the store took no writes
  std::map<JobNumber, std::vector<JobMoved>> history_;
  std::set<JobNumber> changed_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer tick_;
  std::int64_t started_ms_;
  std::atomic<std::uint32_t> aside_ = 0;
  boost::asio::thread_pool pool_;  // its threads end before anything else goes
};

}  // namespace quench::coordinator
