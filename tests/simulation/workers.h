// The two kinds of workers, as far as their conversation with the coordinator goes: a rank as worker/quantize/quantizer.cc
// and task_runner.cc have it, an evaluation worker as worker/evaluate/evaluation.cc and execution_queue.cc.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "tests/simulation/process.h"
#include "tests/simulation/truth.h"

namespace quench::simulation {

class Rank;

// The ranks of one gang, and where they wait for each other.
struct Gang {
  AttemptNumber attempt;
  std::string secret;
  std::vector<std::shared_ptr<Rank>> ranks;
  std::uint32_t arrived = 0;
  std::uint64_t barrier = 0;
};

class Rank final : public Process {
 public:
  Rank(Timeline& timeline, Dice& dice, const Shape& shape, std::shared_ptr<Gang> gang, RankId id, OnExit on_exit)
      : Process(timeline, std::move(on_exit)), dice_(dice), shape_(shape), gang_(std::move(gang)), id_(id) {}
  RankId id() const { return id_; }
  const std::shared_ptr<Gang>& gang() const { return gang_; }

 private:
  void begin() override { run(work()); }
  Script work();
  // The next barrier of the gang; ready once all have come to it.
  Until barrier();
  void put_own(const std::vector<TensorRecord>& tensors);
  Until stored();
  Until committed();
  void take_commit(std::uint32_t artifact, std::uint32_t block);

  Dice& dice_;
  const Shape& shape_;
  std::shared_ptr<Gang> gang_;
  RankId id_;
};

class EvaluationWorker final : public Process {
 public:
  // `slot`: it was started by the coordinator.
  EvaluationWorker(Timeline& timeline, Dice& dice, const Shape& shape, std::optional<std::uint32_t> slot, OnExit on_exit)
      : Process(timeline, std::move(on_exit)), dice_(dice), shape_(shape), slot_(slot) {}
  std::optional<std::uint32_t> slot() const { return slot_; }
  // Every lease from now on is given back twice.
  void repeat_itself() { repeats_ = true; }
  // Its next lease fails in the middle: what was made before is given back, then the process ends.
  void fail_within_a_lease() { fails_ = true; }

 private:
  void begin() override {
    run(generate());
    run(execute());
  }
  Script generate();
  Script execute();
  void renew();

  struct Made {
    LeaseGrant grant;
    EvaluateOrder order;
  };
  Dice& dice_;
  const Shape& shape_;
  std::optional<std::uint32_t> slot_;
  std::deque<Made> queue_;
  bool executing_ = false;
  std::set<std::pair<std::uint32_t, LeaseId>> leases_;  // of this order's number
  Ms renewed_ = 0;
  bool repeats_ = false;
  bool fails_ = false;
};

}  // namespace quench::simulation
