// What is done to a world: each fault strikes what it finds, or nothing when there is nothing of its kind.
#include <algorithm>

#include "tests/simulation/world.h"

namespace quench::simulation {
namespace {

constexpr std::uint64_t kFaultsMax = 8;
constexpr std::uint64_t kKinds = 13;
// What meets nothing of its kind is tried again.
constexpr int kTries = 8;
constexpr Ms kTryAgain = 3'000;

template <typename Kind>
std::shared_ptr<Kind> one_of(Dice& dice, std::vector<std::shared_ptr<Kind>> all) {
  std::erase_if(all, [](const auto& one) { return !one->alive(); });
  return all.empty() ? nullptr : all[dice.below(all.size())];
}

}  // namespace

void World::plan_faults() {
  Ms when = 0;
  for (std::uint64_t fault = dice_.below(kFaultsMax + 1); fault > 0; --fault) {
    constexpr Ms kGaps[] = {500, 5'000, 30'000};
    when += dice_.between(0, kGaps[dice_.below(3)]);
    calm_at_ = when;
    timeline_.after(when, [this, kind = dice_.below(kKinds)] { strike(kind, kTries); });
  }
}

void World::strike(std::uint64_t kind, int tries) {
  struct Fault {
    const char* name;
    bool (World::*done)();
  };
  static constexpr Fault kFaults[kKinds] = {{"coordinator killed", &World::kill_coordinator},
                                            {"coordinator killed at a commit", &World::kill_at_a_commit},
                                            {"disk full", &World::fill_disk},
                                            {"stop asked for", &World::ask_to_stop},
                                            {"rank killed", &World::kill_rank},
                                            {"gang ended", &World::end_gang_early},
                                            {"evaluation worker killed", &World::kill_evaluator},
                                            {"line cut", &World::cut_link},
                                            {"process stopped", &World::stop_process},
                                            {"evaluation worker hung", &World::hang_evaluator},
                                            {"verdicts given twice", &World::repeat_verdicts},
                                            {"lease failed in the middle", &World::fail_within_a_lease},
                                            {"frame of an old attempt", &World::send_stale_frame}};
  if (done_) return;
  takes(0);
  trace(std::string("fault: ") + kFaults[kind].name);
  if ((this->*kFaults[kind].done)()) {
    ++course_.faults[kFaults[kind].name];
  } else if (tries > 1) {
    timeline_.after(kTryAgain, [this, kind, tries] { strike(kind, tries - 1); });
  }
}

std::shared_ptr<Rank> World::any_rank() { return gang_ ? one_of(dice_, gang_->ranks) : nullptr; }
std::shared_ptr<EvaluationWorker> World::any_evaluator() { return one_of(dice_, evaluators_); }
std::shared_ptr<Process> World::any_process() {
  if (dice_.one_in(2))
    if (const auto rank = any_rank()) return rank;
  return any_evaluator();
}

bool World::kill_coordinator() {
  if (coordinator_->dead()) return false;
  coordinator_->die();
  return true;
}

bool World::kill_at_a_commit() {
  if (coordinator_->dead()) return false;
  disk_.commits_until_death = static_cast<int>(dice_.below(6));
  disk_.dies_before_commit = dice_.one_in(2);
  // It strikes when the job gets there, which may be long after this.
  takes(120'000);
  return true;
}

bool World::fill_disk() {
  disk_.full = true;
  takes(120'000);
  return true;
}

bool World::ask_to_stop() {
  if (coordinator_->dead()) return false;
  coordinator_->stop("a signal");
  return true;
}

bool World::kill_rank() {
  const auto rank = any_rank();
  if (rank) rank->kill("was killed by signal 9");
  return rank != nullptr;
}

bool World::end_gang_early() {
  if (!gang_ || gang_ends_) return false;
  constexpr cluster::GangEnd kEnds[] = {cluster::GangEnd::own, cluster::GangEnd::preempted, cluster::GangEnd::time_limit,
                                        cluster::GangEnd::cancelled};
  end_gang("ended from outside", kEnds[dice_.below(4)]);
  return true;
}

bool World::kill_evaluator() {
  const auto worker = any_evaluator();
  if (worker) worker->kill("was killed by signal 9");
  return worker != nullptr;
}

bool World::cut_link() {
  const auto process = any_process();
  if (!process || !process->link()) return false;
  process->link()->cut();
  takes(10'000);
  return true;
}

bool World::stop_process() {
  const auto process = any_process();
  if (!process) return false;
  const Ms for_ms = dice_.between(1'000, 60'000);
  process->stop_for(for_ms);
  takes(for_ms);
  return true;
}

bool World::hang_evaluator() {
  const auto worker = any_evaluator();
  if (!worker) return false;
  const Ms for_ms = dice_.between(1'000, 900'000);
  worker->hang_for(for_ms);
  takes(for_ms);
  return true;
}

bool World::repeat_verdicts() {
  const auto worker = any_evaluator();
  if (worker) worker->repeat_itself();
  return worker != nullptr;
}

bool World::fail_within_a_lease() {
  const auto worker = any_evaluator();
  if (worker) worker->fail_within_a_lease();
  return worker != nullptr;
}

bool World::send_stale_frame() {
  const auto rank = any_rank();
  if (!rank || !rank->link() || gang_ends_ || old_frames_.empty()) return false;
  const auto& [to, frame] = old_frames_[dice_.below(old_frames_.size())];
  rank->link()->send(to == Link::coordinator ? Link::worker : Link::coordinator, frame);
  return true;
}

}  // namespace quench::simulation
