#include "tests/simulation/workers.h"

#include <utility>

namespace quench::simulation {
namespace {

constexpr Ms kRenewEvery = 20'000;
constexpr Ms kBlockMsMax = 1'500;
constexpr Ms kItemMsMax = 700;

}  // namespace

Process::Until Rank::barrier() {
  const std::uint64_t mine = gang_->barrier;
  if (++gang_->arrived == gang_->ranks.size()) {
    gang_->arrived = 0;
    ++gang_->barrier;
    for (const auto& rank : gang_->ranks)
      if (rank.get() != this)
        timeline_.after(1, [weak = std::weak_ptr<Process>(rank->weak_from_this())] {
          if (const auto other = weak.lock()) other->look_again();
        });
  }
  return until([gang = gang_, mine] { return gang->barrier > mine; });
}

// Tensor i is dealt to rank i modulo their number.
void Rank::put_own(const std::vector<TensorRecord>& tensors) {
  for (std::size_t i = id_.rank; i < tensors.size(); i += id_.world) {
    ++state_.chunks_put;
    say(ChunkPut{tensors[i].chunks.front().digest}, chunk_of(tensors[i].name));
  }
}

Process::Until Rank::stored() {
  return until([this] { return state_.chunks_stored == state_.chunks_put; });
}

Process::Until Rank::committed() {
  return until([this] { return !state_.commits.empty(); });
}

void Rank::take_commit(std::uint32_t artifact, std::uint32_t block) {
  const BlockCommitted commit = state_.commits.front();
  state_.commits.pop_front();
  if (commit.artifact != artifact || commit.block != block)
    throw Violation("rank 0 was told of the commit of block " + std::to_string(commit.block) + ", it waited for " +
                    std::to_string(block));
}

Script Rank::work() {
  for (;;) {
    co_await until([this] { return !state_.orders.empty(); });
    const Message message = std::move(state_.orders.front());
    state_.orders.pop_front();
    if (std::holds_alternative<ExitOrder>(message)) break;
    const auto* const order = std::get_if<QuantizeOrder>(&message);
    if (order == nullptr) throw Violation("a rank got an order that is not for ranks");
    const bool speaks = id_.rank == 0;
    const std::uint32_t artifact = order->artifact;
    const Digest calibration = artifact == 0 ? Digest{} : sha256("windows");
    if (!order->outer_committed) {
      const auto outer = tensors_of(shape_, artifact, kOuterBlock);
      put_own(outer);
      co_await stored();
      co_await barrier();
      if (speaks) {
        say(OuterDone{artifact, calibration, {}, outer, {}});
        co_await committed();
        take_commit(artifact, kOuterBlock);
      }
    }
    // A gang that resumes goes on behind what was committed, and reads it.
    std::size_t tensors_before = 0;
    for (std::uint32_t block = 0; block < order->first_block; ++block) tensors_before += tensors_of(shape_, artifact, block).size();
    if (order->committed.size() != tensors_before) throw Violation("a gang is to begin elsewhere than behind the last committed block");
    if (!order->committed.empty()) {
      const TensorRecord& record = order->committed[dice_.below(order->committed.size())];
      say(ChunkRequest{record.chunks.front().digest});
      co_await until([this] { return state_.chunk || state_.request_failed; });
      if (!state_.chunk || state_.chunk->bytes != chunk_of(record.name)) throw Violation("a committed chunk is lost: " + record.name);
      state_.chunk.reset();
    }
    for (std::uint32_t block = order->first_block; block < shape_.blocks; ++block) {
      co_await compute(dice_.between(1, kBlockMsMax));
      co_await barrier();
      const auto tensors = tensors_of(shape_, artifact, block);
      put_own(tensors);
      co_await stored();
      co_await barrier();
      if (!speaks) continue;
      say(Progress{artifact, block, "solve"});
      say(BlockDone{artifact, block, tensors, {{tensors.front().name, 0.5, 0.1}}, 1.0, false});
      co_await committed();
      take_commit(artifact, block);
    }
    if (speaks) say(ArtifactDone{artifact, 1, 0});
    co_await barrier();
    const std::uint64_t kept = state_.usages_kept;
    say(UsageDone{artifact, kNoEvaluation, {}, {}});
    co_await until([this, kept] { return state_.usages_kept > kept; });
  }
  co_await barrier();
  end(0, "");
}

void EvaluationWorker::renew() {
  if (timeline_.now() - renewed_ < kRenewEvery) return;
  renewed_ = timeline_.now();
  for (const auto& [number, lease] : leases_) say(LeaseRenewal{lease, number});
}

Script EvaluationWorker::generate() {
  for (;;) {
    co_await until([this] { return !state_.orders.empty(); });
    const Message message = std::move(state_.orders.front());
    state_.orders.pop_front();
    if (std::holds_alternative<ExitOrder>(message)) break;
    if (!std::holds_alternative<EvaluateOrder>(message)) throw Violation("an evaluation worker got an order for ranks");
    const EvaluateOrder order = std::get<EvaluateOrder>(message);
    say(ManifestRequest{order.artifact.hex()});
    co_await until([this] { return state_.manifest || state_.request_failed; });
    if (!state_.manifest || manifest_digest(state_.manifest->manifest) != order.artifact)
      throw Violation("the artifact to be evaluated is not in the store");
    state_.manifest.reset();
    say(BenchmarkInfo{benchmark_of(order.evaluation), tasks_of(shape_), order.number});
    LeaseRequest request{shape_.lease_items, order.number, {}, {}};
    for (;;) {
      say(request);
      co_await until([this] { return !state_.grants.empty(); });
      LeaseGrant grant = std::move(state_.grants.front());
      state_.grants.pop_front();
      if (grant.items.empty()) break;
      for (const LeaseItem& item : grant.items)
        if (item.task >= shape_.tasks || item.sample >= shape_.samples) throw Violation("a lease names what there is not");
      leases_.emplace(order.number, grant.lease);
      request.lease = grant.lease;
      request.made.clear();
      for (const LeaseItem& item : grant.items) {
        const auto left = std::find_if(grant.made.begin(), grant.made.end(), [&](const MadeText& text) {
          return text.task == item.task && text.sample == item.sample;
        });
        const std::string text = verdict_of(order.artifact, order.evaluation, item).completion;
        if (left != grant.made.end()) {
          if (left->text != text) throw Violation("a lease holds the text of another completion");
          continue;
        }
        request.made.push_back({item.task, item.sample, text, 1});
        co_await compute(dice_.between(1, kItemMsMax));
        renew();
      }
      const bool fails = std::exchange(fails_, false);
      if (fails) grant.items.resize(grant.items.size() / 2);
      co_await until([this] { return queue_.empty(); });
      queue_.push_back({std::move(grant), order});
      if (!fails) continue;
      co_await until([this] { return queue_.empty() && !executing_; });
      throw Error(ErrorCode::failed, "out of memory");
    }
    co_await until([this] { return queue_.empty() && !executing_; });
    const std::uint64_t kept = state_.usages_kept;
    say(UsageDone{0, order.evaluation, order.artifact, {}});
    co_await until([this, kept] { return state_.usages_kept > kept; });
  }
  end(0, "");
}

Script EvaluationWorker::execute() {
  for (;;) {
    co_await until([this] { return !queue_.empty(); });
    const Made made = std::move(queue_.front());
    queue_.pop_front();
    executing_ = true;
    VerdictsDone done{made.grant.lease, {}, made.order.number};
    for (const LeaseItem& item : made.grant.items) {
      co_await compute(dice_.between(1, kItemMsMax));
      renew();
      done.verdicts.push_back(verdict_of(made.order.artifact, made.order.evaluation, item));
    }
    say(done);
    if (repeats_) say(done);
    leases_.erase({made.order.number, made.grant.lease});
    executing_ = false;
  }
}

}  // namespace quench::simulation
