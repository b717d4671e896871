// The coordinator's process in a simulated world: the real state, reactor, fan-out, roster and handshake decision; around
// them, where service.cc has sockets, a clock and processes, the simulated ones.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "cluster/launch/launcher.h"
#include "cluster/net/handshake.h"
#include "coordinator/outbox.h"
#include "coordinator/state.h"
#include "tests/simulation/disk.h"
#include "tests/simulation/link.h"

namespace quench::simulation {

// What the host needs of the world around it.
class Surroundings {
 public:
  virtual ~Surroundings() = default;
  virtual void start_gang(AttemptNumber attempt, std::uint32_t ranks, const std::string& secret) = 0;
  virtual void stop_gang() = 0;
  virtual void start_evaluator(std::uint32_t slot) = 0;
  virtual void stop_evaluators() = 0;
  // The process is over: killed, or with its job finished or failed.
  virtual void on_coordinator_killed() = 0;
  virtual void on_coordinator_over() = 0;
  virtual void trace(const std::string& line) = 0;
};

class CoordinatorHost final : public coordinator::Outbox {
 public:
  CoordinatorHost(Surroundings& surroundings, Timeline& timeline, Disk& disk, const Shape& shape, std::uint32_t ranks,
                  std::string join_secret);

  void begin();
  // The handshake of a worker whose connection is `link`; in service when nothing is returned.
  std::optional<Refused> greet(const std::shared_ptr<Link>& link, const std::string& nonce, AttemptNumber attempt, const Hello& hello);
  void on_gang_ended(const std::string& reason, cluster::GangEnd end);
  void on_evaluator_ended(std::uint32_t slot, const std::string& reason);
  void stop(const std::string& reason);
  void die();

  const coordinator::State& state() const { return state_; }
  const cluster::Roster& roster() const { return roster_; }
  const std::string& join_secret() const { return join_secret_; }
  bool dead() const { return dead_; }
  // Throws Violation: somebody waits for work that there is, a lease is lost, something grows.
  void check();

  void send(coordinator::ConnectionId to, const Message& message) override;
  void start_gang(AttemptNumber attempt) override;
  void stop_gang(const std::string& reason) override;
  void start_evaluator(std::uint32_t slot) override;
  void stop_evaluators(const std::string& reason) override;
  void record(const JournalEvent& event, const std::vector<Digest>& chunks) override;
  Digest publish(const std::string& name, const Manifest& manifest, const RunRecord& run, std::uint32_t artifact) override;
  std::vector<Verdict> keep_verdicts(const Digest& evaluation, const std::vector<Verdict>& verdicts) override;
  void keep_usage(std::uint32_t artifact, std::uint32_t evaluation, const PhaseUsage& usage) override;
  std::set<coordinator::LeaseTable::Item> kept_verdicts(const Digest& evaluation) override;
  void tell(const std::string& line) override;
  void show_progress(const std::string&, std::uint32_t, std::uint32_t) override {}

 private:
  struct Peer {
    std::shared_ptr<Link> link;
    PeerRole role = PeerRole::rank;
    std::uint64_t chunks_stored = 0;
  };
  template <typename Decision>
  void decide(Decision decision);
  void on_message(coordinator::ConnectionId id, const Message& message, const Bytes& payload);
  bool answer(Peer& peer, const Message& message) const;
  void require_durable(const BlockCommitted& told) const;
  void tick();
  void end_if_over();

  Surroundings& surroundings_;
  Timeline& timeline_;
  Disk& disk_;
  std::uint32_t ranks_wished_;
  std::string join_secret_;
  coordinator::State state_;
  cluster::Roster roster_;
  std::map<coordinator::ConnectionId, Peer> peers_;
  coordinator::ConnectionId next_connection_ = 1;
  bool gang_lives_ = false;
  std::set<std::uint32_t> slots_live_;
  bool dead_ = false;
  std::shared_ptr<bool> here_ = std::make_shared<bool>(true);  // timers must not outlive us
};

}  // namespace quench::simulation
