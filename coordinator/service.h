// The rim of one job: sockets, clock, processes and store around its reactor. `quench run` has one of them on its
// loop, `quench serve` one for each job at work. Event-loop thread only.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cluster/launch/child_process.h"
#include "cluster/launch/launcher.h"
#include "cluster/launch/launcher_choice.h"
#include "cluster/net/handshake.h"
#include "cluster/net/listener.h"
#include "coordinator/join_folder.h"
#include "coordinator/outbox.h"
#include "coordinator/records.h"
#include "coordinator/state.h"
#include "coordinator/store_server.h"

namespace quench::coordinator {

// What people see while a job runs.
class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  virtual void line(const std::string& text) = 0;
  virtual void progress(const std::string& what, std::uint32_t done, std::uint32_t total) = 0;
  // The step within the current block.
  virtual void step(const std::string& text) = 0;
  // A block is committed.
  virtual void block(const std::string& artifact, const BlockDone& done) = 0;
  // For the job's log only.
  virtual void detail(const std::string& text) = 0;
};

struct ServiceOptions {
  std::filesystem::path worker;  // the quench-worker program
  std::uint32_t threads = 1;     // per rank
  std::string build;
  // Where evaluation workers of other hosts may join, beside the loopback address that is always there.
  std::optional<cluster::Endpoint> listen;
  std::optional<cluster::TlsFiles> tls;  // for those who come to `listen`; none: they are not encrypted
  cluster::LauncherSettings launcher = {};
  std::filesystem::path join_folder;  // what evaluation workers need to join
  // How long ranks work on without us and wait for the next service; 0: they end with us.
  std::chrono::seconds reconnect{0};
  // The folder of the gang that an earlier service left; null: none.
  std::unique_ptr<cluster::GangFolder> left_gang = {};
};

class Service final : public Outbox {
 public:
  // `on_over` comes once, when the job is finished or failed and no process of it is left; the outcome is in the
  // state. It comes from inside a callback: destroy the Service later, from the loop.
  Service(ServiceOptions options, cluster::Loop& loop, StoreServer& store_server, ArtifactStore& store, State& state,
          ProgressSink& sink, std::function<void()> on_over);
  ~Service() override;

  // Throws only what keeps the job from beginning (no mpirun, no socket).
  void start();
  // Ends the job's processes; what is committed stays.
  void stop(const std::string& reason);

  void send(ConnectionId to, const Message& message) override;
  void start_gang(AttemptNumber attempt) override;
  bool adopt_gang() override;
  void stop_gang(const std::string& reason) override;
  void start_evaluator(std::uint32_t slot) override;
  void stop_evaluators(const std::string& reason) override;
  void record(const quench::JournalEvent& event, const std::vector<Digest>& chunks) override;
  Digest publish(const std::string& name, const Manifest& manifest, const RunRecord& run,
                 std::uint32_t artifact) override;
  std::vector<Verdict> keep_verdicts(const Digest& evaluation,
                                     const std::vector<Verdict>& verdicts) override;
  void keep_usage(std::uint32_t artifact, std::uint32_t evaluation, const PhaseUsage& usage) override;
  std::set<LeaseTable::Item> kept_verdicts(const Digest& evaluation) override;
  void tell(const std::string& line) override;
  void show_progress(const std::string& what, std::uint32_t done, std::uint32_t total) override;

 private:
  struct Peer {
    std::unique_ptr<cluster::Connection> connection;
    PeerRole role = PeerRole::rank;
    std::uint64_t chunks_stored = 0;
  };

  // Runs a decision; an Error of the disk or a broken rule fails the job, not the process.
  void decide(const std::function<void()>& decision);
  void admit(std::unique_ptr<cluster::Connection> connection, const Hello& hello);
  void on_message(ConnectionId id, const Message& message, const Bytes& payload);
  // Where processes of ours dial: on other hosts, where `listen` is.
  std::string endpoint_for_ours() const;
  cluster::GangHandlers gang_handlers(const std::string& who, std::function<void(const cluster::GangExit&)> on_exit);
  void start_workers();
  void on_workers_ended(const cluster::GangExit& exit);
  void on_gang_ended(const cluster::GangExit& exit);
  void on_evaluator_ended(std::uint32_t slot, const cluster::ChildExit& exit);
  std::optional<cluster::Listener> join_listener();
  void schedule_tick();
  void end_if_over();
  // Everything durable goes through here: verdicts that were taken before it come first.
  void write(const Commit& commit);

  ServiceOptions options_;
  std::shared_ptr<cluster::TlsContext> tls_;  // shared with its connections
  std::string certificate_;                   // of `tls`, PEM
  ArtifactStore& store_;
  State& state_;
  std::uint32_t ranks_wished_;  // the state's are those that came
  ProgressSink& sink_;
  std::function<void()> on_over_;
  cluster::Loop& loop_;
  boost::asio::thread_pool hash_pool_;
  StoreServer& store_server_;
  cluster::Roster roster_;
  cluster::Reception reception_;
  cluster::Listener listener_;
  std::optional<cluster::Listener> join_listener_;
  std::string join_secret_;
  JoinFolder join_folder_;
  std::unique_ptr<cluster::Launcher> launcher_;
  std::unique_ptr<cluster::Gang> gang_;
  std::unique_ptr<cluster::Gang> ended_gang_;  // destroyed outside its own callback
  std::map<std::uint32_t, std::unique_ptr<cluster::ChildProcess>> evaluators_;  // by slot
  std::vector<std::unique_ptr<cluster::ChildProcess>> ended_evaluators_;
  // The same on other hosts: one gang of workers for all slots.
  std::unique_ptr<cluster::Gang> workers_;
  std::unique_ptr<cluster::Gang> ended_workers_;
  std::set<std::uint32_t> worker_slots_;    // that workers_ has been started for
  std::set<std::uint32_t> awaited_slots_;   // that it will be started for
  boost::asio::steady_timer tick_;
  VerdictBatch verdicts_;  // of this turn of the loop
  // Dies with us: a timer that has expired already still calls its handler.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::map<ConnectionId, Peer> peers_;
  ConnectionId next_connection_ = 1;
};

}  // namespace quench::coordinator
