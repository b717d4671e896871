// One job in a world where everything breaks, all of it drawn from one seed: coordinator, gangs and evaluation workers over
// a bad network, killed, stopped, cut off, restarted. run() ends when the job has, or throws Violation.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/simulation/coordinator_host.h"
#include "tests/simulation/workers.h"

namespace quench::simulation {

// What a job leaves in the store, whatever happened on the way.
struct Results {
  std::map<std::string, Digest> names;
  std::map<Digest, Bytes> manifests;
  std::map<Digest, Disk::Verdicts> verdicts;
  bool operator==(const Results&) const = default;
};

struct Course {
  Results results;
  Ms took = 0;
  std::uint64_t events = 0;
  std::map<std::string, std::uint64_t> faults;  // that met something, by name
};

Shape shape_of(std::uint64_t seed);

class World final : public Surroundings {
 public:
  // `traced`: keeps what happened, for trace_text().
  World(std::uint64_t seed, bool disturbed, bool traced = false);
  ~World() override;
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  Course run();
  std::string trace_text() const;

 private:
  // --- What the coordinator asks for
  void start_gang(AttemptNumber attempt, std::uint32_t ranks, const std::string& secret) override;
  void stop_gang() override;
  void start_evaluator(std::uint32_t slot) override;
  void stop_evaluators() override;
  void on_coordinator_killed() override;
  void on_coordinator_over() override;
  void trace(const std::string& line) override;

  void start_coordinator();
  void start_joiner();
  void dial(const std::shared_ptr<Process>& process, Hello hello, AttemptNumber attempt, const std::string& secret);
  void end_gang(const std::string& reason, cluster::GangEnd end);
  void on_rank_exit(Process& process, int code, const std::string& reason);
  void on_evaluator_exit(Process& process, int code, const std::string& reason);
  void remember_frames();

  // --- Faults (faults.cc)
  void plan_faults();
  void strike(std::uint64_t kind, int tries);
  bool kill_coordinator();
  bool kill_at_a_commit();
  bool fill_disk();
  bool ask_to_stop();
  bool kill_rank();
  bool end_gang_early();
  bool kill_evaluator();
  bool cut_link();
  bool stop_process();
  bool hang_evaluator();
  bool repeat_verdicts();
  bool fail_within_a_lease();
  bool send_stale_frame();
  // The world needs so long to get over what happens now.
  void takes(Ms ms) { calm_at_ = std::max(calm_at_, timeline_.now() + ms); }
  std::shared_ptr<Rank> any_rank();
  std::shared_ptr<EvaluationWorker> any_evaluator();
  std::shared_ptr<Process> any_process();

  Dice dice_;
  Shape shape_;
  bool disturbed_;
  bool traced_;
  Timeline timeline_;
  Weather weather_;
  Disk disk_;
  std::unique_ptr<CoordinatorHost> coordinator_;
  std::shared_ptr<Gang> gang_;
  bool gang_ends_ = false;
  bool gang_starts_no_more_ = false;
  std::set<std::shared_ptr<Process>> processes_;
  std::vector<std::shared_ptr<EvaluationWorker>> evaluators_;
  // Of gangs that are over, as they might still be on their way.
  std::vector<std::pair<Link::Side, Frame>> old_frames_;
  std::uint64_t lives_ = 0;  // coordinators so far
  std::uint64_t failures_ = 0;
  std::uint32_t joiners_ = 0;
  Ms calm_at_ = 0;
  bool done_ = false;
  Course course_;
  std::deque<std::string> trace_;
  std::string last_line_;
};

}  // namespace quench::simulation
