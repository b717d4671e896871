#include "tests/simulation/coordinator_host.h"

#include <utility>

#include "coordinator/fan_out.h"
#include "coordinator/reactor.h"
#include "schemas/codec.h"

namespace quench::simulation {
namespace {

using coordinator::ConnectionId;
using coordinator::Phase;

constexpr char kBuild[] = "simulated";
constexpr Ms kTick = 500;
// Bounds on what one job's coordinator holds; nothing here grows with the length of a run.
constexpr std::size_t kPeersMax = 64;
constexpr std::size_t kQueuedMax = 64;

std::vector<JournalEvent> history_of(Disk& disk, const JobSpec& job) {
  if (disk.journal.empty()) disk.journal.push_back(encode(JournalEvent(JobAccepted{job, sha256("source")})));
  std::vector<JournalEvent> history;
  for (const Bytes& event : disk.journal) history.push_back(decode_journal_event(event));
  return history;
}

}  // namespace

CoordinatorHost::CoordinatorHost(Surroundings& surroundings, Timeline& timeline, Disk& disk, const Shape& shape,
                                 std::uint32_t ranks, std::string join_secret)
    : surroundings_(surroundings),
      timeline_(timeline),
      disk_(disk),
      ranks_wished_(ranks),
      join_secret_(std::move(join_secret)) {
  JobSpec job = job_of(shape);
  job.ranks = ranks;
  const Digest source = sha256("source");
  state_ = coordinator::open_job(job, job_id(job, source), source, shape.blocks, history_of(disk, job));
  state_.build = kBuild;
  roster_.expect_evaluators(join_secret_);
}

void CoordinatorHost::begin() {
  state_.now = timeline_.now();
  decide([this] { coordinator::on_start(state_, *this); });
  tick();
}

void CoordinatorHost::tick() {
  timeline_.after(kTick, [this, here = std::weak_ptr(here_)] {
    if (here.expired() || dead_) return;
    decide([this] { coordinator::on_tick(state_, *this, timeline_.now()); });
    tick();
  });
}

template <typename Decision>
void CoordinatorHost::decide(Decision decision) {
  if (dead_) return;
  try {
    try {
      decision();
    } catch (const Error& error) {
      if (!state_.failure) state_.failure = coordinator::JobFailure{error.code(), error.what()};
      state_.phase = Phase::failed;
      stop_gang(error.what());
      stop_evaluators(error.what());
    }
  } catch (const Killed&) {
    die();
    return;
  }
  check();
  end_if_over();
}

void CoordinatorHost::die() {
  if (std::exchange(dead_, true)) return;
  surroundings_.trace("the coordinator is killed");
  for (auto& [id, peer] : peers_) peer.link->leave(Link::coordinator);
  surroundings_.on_coordinator_killed();
}

void CoordinatorHost::end_if_over() {
  if (dead_ || gang_lives_ || !slots_live_.empty()) return;
  if (state_.phase != Phase::finished && state_.phase != Phase::failed) return;
  dead_ = true;
  for (auto& [id, peer] : peers_) peer.link->leave(Link::coordinator);
  surroundings_.on_coordinator_over();
}

void CoordinatorHost::stop(const std::string& reason) {
  decide([&] { coordinator::on_stop_requested(state_, *this, reason); });
}

std::optional<Refused> CoordinatorHost::greet(const std::shared_ptr<Link>& link, const std::string& nonce, AttemptNumber attempt,
                                              const Hello& hello) {
  if (auto refused = cluster::check_hello(roster_, kBuild, cluster::Transport::tcp, nonce, attempt, hello)) return refused;
  if (hello.role == PeerRole::rank) roster_.join(hello.rank);
  const ConnectionId id = next_connection_++;
  peers_[id] = Peer{link, hello.role, 0};
  link->set_handlers(Link::coordinator, {.on_message = [this, id, here = std::weak_ptr(here_)](
                                             Message message, Bytes payload) {
                                           if (!here.expired() && !dead_) on_message(id, message, payload);
                                         },
                                         .on_closed =
                                             [this, id, here = std::weak_ptr(here_)](const Error& reason) {
                                               if (here.expired() || dead_) return;
                                               const std::string text = reason.what();
                                               decide([&] {
                                                 coordinator::on_rank_lost(state_, *this, id, text);
                                                 coordinator::on_evaluator_lost(state_, *this, id, text);
                                               });
                                               peers_.erase(id);
                                             }});
  decide([&] {
    if (hello.role == PeerRole::evaluator) {
      coordinator::on_evaluator_joined(state_, *this, id, hello);
    } else {
      coordinator::on_rank_joined(state_, *this, id, hello);
    }
  });
  return std::nullopt;
}

bool CoordinatorHost::answer(Peer& peer, const Message& message) const {
  if (const auto* request = std::get_if<ManifestRequest>(&message)) {
    const Digest digest = Digest::from_hex(request->ref);
    if (const auto found = disk_.manifests.find(digest); found != disk_.manifests.end()) {
      peer.link->send(Link::coordinator, ManifestReply{digest, decode_manifest(found->second)});
    } else {
      peer.link->send(Link::coordinator, RequestFailed{ErrorCode::bad_input, "no such artifact"});
    }
    return true;
  }
  if (const auto* request = std::get_if<ChunkRequest>(&message)) {
    if (const auto found = disk_.chunks.find(request->digest); found != disk_.chunks.end()) {
      peer.link->send(Link::coordinator, ChunkReply{request->digest}, found->second);
    } else {
      peer.link->send(Link::coordinator, RequestFailed{ErrorCode::corrupt, "no such chunk"});
    }
    return true;
  }
  return false;
}

void CoordinatorHost::on_message(ConnectionId id, const Message& message, const Bytes& payload) {
  Peer& peer = peers_.at(id);
  if (answer(peer, message)) return;
  if (peer.role == PeerRole::evaluator) {
    decide([&] { coordinator::on_evaluator_message(state_, *this, id, message); });
    return;
  }
  if (const auto* chunk = std::get_if<ChunkPut>(&message)) {
    if (sha256(payload) != chunk->digest) throw Violation("a chunk arrived with other bytes");
    disk_.chunks[chunk->digest] = payload;
    peer.link->send(Link::coordinator, ChunkStored{++peer.chunks_stored});
    return;
  }
  decide([&] { coordinator::on_rank_message(state_, *this, id, message); });
}

void CoordinatorHost::on_gang_ended(const std::string& reason, cluster::GangEnd end) {
  if (dead_) return;
  gang_lives_ = false;
  roster_.dismiss();
  std::erase_if(peers_, [](auto& entry) {
    if (entry.second.role != PeerRole::rank) return false;
    entry.second.link->leave(Link::coordinator);
    return true;
  });
  decide([&] { coordinator::on_gang_exited(state_, *this, reason, end); });
}

void CoordinatorHost::on_evaluator_ended(std::uint32_t slot, const std::string& reason) {
  if (dead_) return;
  slots_live_.erase(slot);
  decide([&] { coordinator::on_evaluator_exited(state_, *this, slot, reason); });
}

void CoordinatorHost::check() {
  const bool lends = state_.phase != Phase::failed && state_.phase != Phase::finished && state_.phase != Phase::dismissing &&
                     !state_.stop_requested;
  bool work = false;
  for (coordinator::EvaluationProgress& evaluation : state_.evaluations) {
    if (evaluation.leases) {
      const std::size_t open = evaluation.leases->total() - evaluation.leases->done();
      if (evaluation.leases->held() < open) throw Violation("an item is neither done, nor lent, nor waiting");
      if (evaluation.leases->held() > evaluation.leases->total()) throw Violation("an item is lent twice at once");
    }
    work = work || (!evaluation.complete && state_.artifacts[evaluation.artifact].published &&
                    (!evaluation.leases || evaluation.leases->has_pending()));
  }
  for (const auto& [id, evaluator] : state_.evaluators)
    if (lends && work && (!evaluator.order || evaluator.items_asked > 0))
      throw Violation("an evaluation worker waits although there is work");
  if (peers_.size() > kPeersMax || state_.evaluators.size() > peers_.size() + 1 || state_.ranks.size() > kPeersMax)
    throw Violation("connections pile up: " + std::to_string(peers_.size()));
  for (const auto& [id, peer] : peers_)
    if (peer.link->queued(Link::worker) > kQueuedMax) throw Violation("messages to a worker pile up");
}

// What a rank is told of is in the journal: it throws away what it would need to do it again.
void CoordinatorHost::require_durable(const BlockCommitted& told) const {
  for (auto event = disk_.journal.rbegin(); event != disk_.journal.rend(); ++event) {
    const JournalEvent decoded = decode_journal_event(*event);
    const auto* const block = std::get_if<BlockWritten>(&decoded);
    const auto* const outer = std::get_if<OuterCommitted>(&decoded);
    if (block != nullptr && block->artifact == told.artifact && block->block == told.block) return;
    if (outer != nullptr && outer->artifact == told.artifact && told.block == kOuterBlock) return;
  }
  throw Violation("block " + std::to_string(told.block) + " is acknowledged and not in the journal");
}

void CoordinatorHost::send(ConnectionId to, const Message& message) {
  if (const auto* told = std::get_if<BlockCommitted>(&message)) require_durable(*told);
  if (const auto peer = peers_.find(to); peer != peers_.end()) peer->second.link->send(Link::coordinator, message);
}

void CoordinatorHost::start_gang(AttemptNumber attempt) {
  const std::string secret = sha256("secret " + std::to_string(attempt.value) + join_secret_).hex();
  roster_.expect(attempt, ranks_wished_, secret);
  gang_lives_ = true;
  surroundings_.start_gang(attempt, ranks_wished_, secret);
}

void CoordinatorHost::stop_gang(const std::string& reason) {
  surroundings_.trace("stopping the gang: " + reason);
  if (gang_lives_) surroundings_.stop_gang();
}

void CoordinatorHost::start_evaluator(std::uint32_t slot) {
  if (!slots_live_.insert(slot).second) throw Violation("slot " + std::to_string(slot) + " is started twice");
  surroundings_.start_evaluator(slot);
}

void CoordinatorHost::stop_evaluators(const std::string& reason) {
  surroundings_.trace("stopping the evaluation workers: " + reason);
  surroundings_.stop_evaluators();
}

void CoordinatorHost::record(const JournalEvent& event, const std::vector<Digest>& chunks) {
  disk_.commit([&] {
    disk_.require(chunks);
    disk_.journal.push_back(encode(event));
  });
}

Digest CoordinatorHost::publish(const std::string& name, const Manifest& manifest, const RunRecord& run, std::uint32_t artifact) {
  const Bytes bytes = encode(manifest);
  const Digest digest = sha256(bytes);
  disk_.commit([&] {
    std::vector<Digest> chunks;
    for (const ChunkRef& chunk : chunks_of(manifest)) chunks.push_back(chunk.digest);
    disk_.require(chunks);
    if (!disk_.names.emplace(name, digest).second) throw Violation(name + " is published twice");
    disk_.manifests[digest] = bytes;
    disk_.journal.push_back(encode(JournalEvent(ArtifactPublished{artifact, digest, run.quantize_seconds})));
  });
  return digest;
}

std::vector<Verdict> CoordinatorHost::keep_verdicts(const Digest& evaluation, const std::vector<Verdict>& verdicts) {
  disk_.commit([&] {
    for (const Verdict& verdict : verdicts) {
      const auto [kept, is_new] = disk_.verdicts[evaluation].emplace(std::pair(verdict.task, verdict.sample), verdict);
      if (!is_new && kept->second != verdict) throw Violation("two verdicts on one completion");
    }
  });
  return {};
}

void CoordinatorHost::keep_usage(std::uint32_t, std::uint32_t, const PhaseUsage&) {
  disk_.commit([] {});
}

std::set<coordinator::LeaseTable::Item> CoordinatorHost::kept_verdicts(const Digest& evaluation) {
  std::set<coordinator::LeaseTable::Item> items;
  for (const auto& [item, verdict] : disk_.verdicts[evaluation]) items.insert(item);
  return items;
}

void CoordinatorHost::tell(const std::string& line) { surroundings_.trace(line); }

}  // namespace quench::simulation
