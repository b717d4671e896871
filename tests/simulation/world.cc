#include "tests/simulation/world.h"

#include <algorithm>
#include <utility>

#include "coordinator/reactor.h"
#include "schemas/codec.h"

namespace quench::simulation {
namespace {

constexpr char kBuild[] = "simulated";
constexpr Ms kStopGrace = 3'000;
constexpr Ms kRestartMsMax = 30'000;
// Once nothing is broken any more: shorter than a lease's deadline of 600 s, which therefore rescues nobody here.
constexpr Ms kCalmMsMax = 400'000;
constexpr std::uint64_t kEventsMax = 2'000'000;
constexpr std::size_t kTraceLines = 400;
constexpr std::uint32_t kJoinersMax = 4;
constexpr std::size_t kFiledMax = 8;

}  // namespace

Shape shape_of(std::uint64_t seed) {
  Dice dice(seed % 64);
  Shape shape;
  shape.recipes = static_cast<std::uint32_t>(dice.between(1, 2));
  shape.blocks = static_cast<std::uint32_t>(dice.between(1, 3));
  shape.tensors = static_cast<std::uint32_t>(dice.between(1, 3));
  shape.evaluations = static_cast<std::uint32_t>(dice.between(0, 2));
  shape.tasks = static_cast<std::uint32_t>(dice.between(1, 6));
  shape.samples = static_cast<std::uint32_t>(dice.between(1, 2));
  shape.lease_items = static_cast<std::uint32_t>(dice.between(1, 4));
  return shape;
}

World::World(std::uint64_t seed, bool disturbed, bool traced)
    : dice_(seed), shape_(shape_of(seed)), disturbed_(disturbed), traced_(traced) {
  if (!disturbed) return;
  constexpr Ms kDelays[] = {1, 50, 1'000};
  weather_ = {dice_.one_in(2) ? 0 : dice_.below(300), kDelays[dice_.below(3)]};
}

World::~World() {
  if (gang_) gang_->ranks.clear();
}

Course World::run() {
  start_coordinator();
  if (disturbed_) plan_faults();
  for (std::uint64_t joiner = disturbed_ ? dice_.below(3) : 0; joiner > 0; --joiner) {
    start_joiner();
    takes(0);
  }
  while (!done_) {
    if (!timeline_.step()) throw Violation("nothing happens any more and the job has not ended");
    if (++course_.events > kEventsMax) throw Violation("the job never ends: too many events");
    if (timeline_.now() > calm_at_ + kCalmMsMax)
      throw Violation("the job has not ended " + std::to_string(kCalmMsMax / 1000) + " s after the last fault");
    for (const auto& process : processes_)
      if (process->filed() > kFiledMax) throw Violation("messages pile up in a worker");
  }
  course_.took = timeline_.now();
  // A coordinator that opens the job again finds it done.
  const CoordinatorHost again(*this, timeline_, disk_, shape_, 1, "again");
  if (!coordinator::is_complete(again.state())) throw Violation("the journal of a finished job says that it is not");
  course_.results = {disk_.names, disk_.manifests, disk_.verdicts};
  std::erase_if(course_.results.verdicts, [](const auto& entry) { return entry.second.empty(); });
  return course_;
}

void World::trace(const std::string& line) {
  if (!traced_ || line == last_line_) return;
  last_line_ = line;
  trace_.push_back(std::to_string(timeline_.now()) + " ms: " + line);
  if (trace_.size() > kTraceLines) trace_.pop_front();
}

std::string World::trace_text() const {
  std::string text;
  for (const std::string& line : trace_) text += line + "\n";
  return text;
}

void World::start_coordinator() {
  ++lives_;
  const auto ranks = static_cast<std::uint32_t>(dice_.between(1, 3));
  trace("a coordinator starts, with " + std::to_string(ranks) + " ranks");
  coordinator_ = std::make_unique<CoordinatorHost>(*this, timeline_, disk_, shape_, ranks,
                                                   sha256("join " + std::to_string(lives_)).hex());
  if (coordinator::is_complete(coordinator_->state())) {
    done_ = true;
    return;
  }
  coordinator_->begin();
}

// The kernel ends what it started; others learn of it by their connections.
void World::on_coordinator_killed() {
  stop_gang();
  stop_evaluators();
  const Ms later = dice_.between(kStopGrace + 500, kRestartMsMax);
  takes(later);
  timeline_.after(later, [this] { start_coordinator(); });
}

void World::on_coordinator_over() {
  const coordinator::State& state = coordinator_->state();
  if (state.phase == coordinator::Phase::finished) {
    done_ = true;
    return;
  }
  trace("the job fails: " + state.failure->message);
  switch (state.failure->code) {
    case ErrorCode::failed:
    case ErrorCode::interrupted:
    case ErrorCode::timed_out:
    case ErrorCode::unreachable: break;
    default: throw Violation("the job is given up for a fault that it could live through: " + state.failure->message);
  }
  std::uint64_t faults = 0;
  for (const auto& [name, times] : course_.faults) faults += times;
  if (++failures_ > faults) throw Violation("the job fails without a fault: " + state.failure->message);
  // Whoever asked for it asks again.
  timeline_.after(dice_.between(1, kRestartMsMax), [this] { start_coordinator(); });
}

void World::start_gang(AttemptNumber attempt, std::uint32_t ranks, const std::string& secret) {
  if (gang_) throw Violation("a gang is started beside another one");
  trace("attempt " + std::to_string(attempt.value) + " starts");
  gang_ = std::make_shared<Gang>();
  gang_->attempt = attempt;
  gang_->secret = secret;
  gang_ends_ = false;
  for (std::uint32_t rank = 0; rank < ranks; ++rank)
    gang_->ranks.push_back(std::make_shared<Rank>(
        timeline_, dice_, shape_, gang_, RankId{rank, ranks},
        [this](Process& process, int code, const std::string& reason) { on_rank_exit(process, code, reason); }));
  for (const auto& rank : gang_->ranks) {
    processes_.insert(rank);
    Hello hello;
    hello.build = kBuild;
    hello.role = PeerRole::rank;
    hello.rank = rank->id();
    hello.host = "node";
    dial(rank, hello, attempt, secret);
  }
}

void World::stop_gang() { end_gang("was stopped", cluster::GangEnd::stopped); }

// All its processes go, and when none is left the coordinator hears of it. One of them may be out of reach: it lives on, as
// part of nothing.
void World::end_gang(const std::string& reason, cluster::GangEnd end) {
  if (!gang_ || std::exchange(gang_ends_, true)) return;
  Ms last = 0;
  for (const auto& rank : gang_->ranks) {
    if (disturbed_ && rank->alive() && dice_.one_in(rank->link() ? 16 : 4)) {
      trace("rank " + std::to_string(rank->id().rank) + " is out of reach and lives on");
      if (rank->link()) rank->link()->cut();
      continue;
    }
    const Ms when = dice_.between(0, kStopGrace);
    last = std::max(last, when);
    timeline_.after(when, [rank] { rank->kill("its gang ends"); });
  }
  remember_frames();
  timeline_.after(last + dice_.between(1, 300), [this, gang = gang_, life = lives_, reason, end] {
    gang->ranks.clear();
    if (gang_ == gang) gang_.reset();
    if (life == lives_ && coordinator_) coordinator_->on_gang_ended(reason, end);
  });
}

void World::remember_frames() {
  const AttemptNumber attempt = gang_->attempt;
  const auto keep = [&](Link::Side to, const Message& message, Bytes payload = {}) {
    old_frames_.emplace_back(to, make_frame(message, std::move(payload), attempt));
  };
  const coordinator::State& state = coordinator_->state();
  const auto block = static_cast<std::uint32_t>(state.artifacts[state.current].blocks.size());
  const auto tensors = tensors_of(shape_, state.current, block);
  keep(Link::coordinator, BlockDone{state.current, block, tensors, {}, 1.0, false});
  keep(Link::coordinator, ArtifactDone{state.current, 1, 0});
  keep(Link::coordinator, ChunkPut{tensors.front().chunks.front().digest}, chunk_of(tensors.front().name));
  keep(Link::worker, BlockCommitted{state.current, block});
  keep(Link::worker, ChunkStored{3});
}

void World::on_rank_exit(Process& process, int code, const std::string& reason) {
  auto& rank = static_cast<Rank&>(process);
  trace("rank " + std::to_string(rank.id().rank) + " ends with " + std::to_string(code) + " " + reason);
  std::erase_if(processes_, [&](const auto& one) { return one.get() == &process; });
  if (!gang_ || rank.gang() != gang_ || gang_ends_) return;
  if (code != 0) return end_gang("rank " + std::to_string(rank.id().rank) + " " + reason, cluster::GangEnd::own);
  for (const auto& other : gang_->ranks)
    if (other->alive()) return;
  end_gang("", cluster::GangEnd::own);
}

void World::start_evaluator(std::uint32_t slot) {
  const auto worker = std::make_shared<EvaluationWorker>(
      timeline_, dice_, shape_, slot,
      [this](Process& process, int code, const std::string& reason) { on_evaluator_exit(process, code, reason); });
  processes_.insert(worker);
  evaluators_.push_back(worker);
  Hello hello;
  hello.build = kBuild;
  hello.role = PeerRole::evaluator;
  hello.rank = {slot, slot + 1};
  hello.host = "node";
  dial(worker, hello, {}, coordinator_->join_secret());
}

void World::stop_evaluators() {
  for (const auto& worker : evaluators_)
    if (worker->slot()) timeline_.after(dice_.between(0, kStopGrace), [worker] { worker->kill("was stopped"); });
}

// It comes from elsewhere, with the secret that lies in the store now.
void World::start_joiner() {
  if (joiners_ >= kJoinersMax) return;
  ++joiners_;
  timeline_.after(dice_.between(1, 20'000), [this] {
    const auto worker = std::make_shared<EvaluationWorker>(
        timeline_, dice_, shape_, std::nullopt,
        [this](Process& process, int code, const std::string& reason) { on_evaluator_exit(process, code, reason); });
    processes_.insert(worker);
    evaluators_.push_back(worker);
    Hello hello;
    hello.build = kBuild;
    hello.role = PeerRole::evaluator;
    hello.rank = {0, 0};
    hello.host = "elsewhere";
    dial(worker, hello, {}, coordinator_->join_secret());
  });
}

void World::on_evaluator_exit(Process& process, int code, const std::string& reason) {
  const auto& worker = static_cast<EvaluationWorker&>(process);
  const std::optional<std::uint32_t> slot = worker.slot();
  trace((slot ? "evaluation worker " + std::to_string(*slot) : "a joined evaluation worker") + " ends with " +
        std::to_string(code) + " " + reason);
  std::erase_if(evaluators_, [&](const auto& one) { return one.get() == &process; });
  std::erase_if(processes_, [&](const auto& one) { return one.get() == &process; });
  if (done_) return;
  if (slot) {
    timeline_.after(dice_.between(0, 200), [this, life = lives_, slot = *slot, code] {
      if (life == lives_) coordinator_->on_evaluator_ended(slot, "ended with " + std::to_string(code));
    });
    return;
  }
  // With --wait it comes back.
  --joiners_;
  if (code == 75 || code == 4 || code == 3) start_joiner();
}

void World::dial(const std::shared_ptr<Process>& process, Hello hello, AttemptNumber attempt, const std::string& secret) {
  timeline_.after(dice_.between(1, disturbed_ ? 5'000 : 10), [this, process, hello, attempt, secret]() mutable {
    if (!process->alive()) return;
    if (!coordinator_ || coordinator_->dead()) return process->end(4, "nobody listens");
    const auto link = std::make_shared<Link>(timeline_, dice_, weather_, attempt);
    const std::string nonce = std::to_string(dice_.below(1u << 30));
    hello.proof = cluster::hello_proof(secret, nonce, attempt, hello);
    process->connected(link);
    if (!process->alive()) return;
    if (const auto refused = coordinator_->greet(link, nonce, attempt, hello)) {
      trace("turned a peer away: " + refused->message);
      process->end(3, refused->message);
    } else if (attempt != AttemptNumber{} && attempt != coordinator_->roster().attempt()) {
      throw Violation("a rank of attempt " + std::to_string(attempt.value) + " was let in");
    }
  });
}

}  // namespace quench::simulation
