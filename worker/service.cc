#include "worker/service.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "worker/reactor.h"

namespace quench::worker {
namespace {

using Clock = std::chrono::steady_clock;

// A coordinator that takes nothing for so long is stuck; its own limit on silence is far shorter.
constexpr std::chrono::milliseconds kSendDeadline{60'000};
constexpr std::chrono::milliseconds kFarewell{2'000};
constexpr std::chrono::milliseconds kDialDeadline{10'000};
constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::chrono::milliseconds kLongestPause{5'000};

}  // namespace

Service::Service(const ServiceOptions& options, cluster::AbortFlag* abort) : options_(options), abort_(abort) {
  state_.holds = reconnects();
  const std::shared_ptr<Link> link = dial(Clock::now() + options_.reconnect);
  {
    const Lock lock(mutex_);
    link_ = link;
    puts_flow_ = asks_flow_ = true;
    // A gang that was taken over while it dialled in is asked how far it is.
    if (reconnects()) link->connection().send(Resuming{});
  }
  take_up(link);
  if (reconnects() || options_.exit_after_loss) keeper_ = std::thread([this] { keep(); });
}

cluster::Endpoint Service::endpoint() const {
  std::ifstream file(options_.endpoint_file);
  std::string text;
  if (options_.endpoint_file.empty() || !std::getline(file, text)) return options_.coordinator;
  return cluster::Endpoint::parse(text);
}

std::shared_ptr<Link> Service::dial(Clock::time_point until) {
  for (std::chrono::milliseconds pause = kFirstPause;; pause = std::min(2 * pause, kLongestPause)) {
    const cluster::Endpoint at = endpoint();
    try {
      cluster::DialOptions dial_options;
      dial_options.attempt = options_.attempt;
      dial_options.secret = options_.secret;
      dial_options.certificate = options_.certificate;
      dial_options.connection.attempt = options_.attempt;
      if (reconnects()) dial_options.deadline = kDialDeadline;
      const std::shared_ptr<Link> link = std::make_shared<Link>(at, options_.hello, dial_options);
      const Lock lock(mutex_);
      dialled_ = at;
      return link;
    } catch (const Error& error) {
      Lock lock(mutex_);
      // Where the lost coordinator was somebody else may listen by now; the next one's word is final.
      const bool stranger = link_ != nullptr && at == dialled_;
      if ((error.code() == ErrorCode::refused && !stranger) || Clock::now() + pause > until) throw;
      if (changed_.wait_for(lock, pause, [this] { return ending_ || state_.lost.has_value(); })) throw;
    }
  }
}

void Service::take_up(const std::shared_ptr<Link>& link) {
  cluster::ConnectionHandlers handlers;
  // Not an owner: its thread would then wait for itself.
  handlers.on_message = [this, link = link.get()](Message message, Bytes payload) {
    on_message(*link, std::move(message), std::move(payload));
  };
  handlers.on_closed = [this, link = link.get()](const Error& reason) {
    Lock lock(mutex_);
    if (link != link_.get()) return;
    puts_flow_ = asks_flow_ = false;
    dropped_ = reason;
    if (reconnects() && abort_ != nullptr) abort_->excuse();
    if (!reconnects()) give_up(reason, lock);
    changed_.notify_all();
  };
  link->begin(std::move(handlers));
}

void Service::on_message(Link& link, Message message, Bytes payload) {
  const Lock lock(mutex_);
  if (&link != link_.get()) return;
  const bool resumed = std::holds_alternative<Resumed>(message);
  worker::on_message(state_, std::move(message), std::move(payload));
  if (resumed && !asks_flow_) {
    for (const Message& one : state_.unanswered) link.connection().send(one);
    asks_flow_ = true;
    if (abort_ != nullptr) abort_->end_excuse();
  }
  changed_.notify_all();
}

void Service::give_up(const Error& reason, Lock&) {
  const Error lost(ErrorCode::interrupted, std::string("lost the coordinator: ") + reason.what());
  if (abort_ != nullptr) abort_->set(lost);
  on_coordinator_lost(state_, lost);
  changed_.notify_all();
}

void Service::keep() {
  Lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || dropped_ || state_.lost; });
    if (ending_) return;
    if (state_.lost) break;
    const Error reason = *std::exchange(dropped_, std::nullopt);
    lock.unlock();
    std::shared_ptr<Link> link;
    try {
      link = dial(Clock::now() + options_.reconnect);
      put_again(link);
      lock.lock();
    } catch (const Error& error) {
      lock.lock();
      // A new link that broke at once is the next to be replaced.
      if (link != nullptr) dropped_ = error;
      if (link == nullptr && !ending_)
        give_up(Error(error.code(), std::string(reason.what()) + "; waited for the next one for " +
                                        std::to_string(options_.reconnect.count()) + " s at most: " + error.what()),
                lock);
    }
  }
  if (!options_.exit_after_loss) return;
  if (!changed_.wait_for(lock, *options_.exit_after_loss, [this] { return ending_; }))
    std::_Exit(exit_code(ErrorCode::interrupted));
}

void Service::put_again(const std::shared_ptr<Link>& link) {
  std::shared_ptr<Link> before;  // joins its thread, which may wait for our lock
  {
    const Lock lock(mutex_);
    before = std::exchange(link_, link);
    dropped_.reset();  // of the one before
    on_reconnected(state_);
  }
  before.reset();
  take_up(link);
  for (std::size_t next = 0;; ++next) {
    Lock lock(mutex_);
    if (next == state_.held.size()) {
      puts_flow_ = !dropped_;
      const Resuming resuming{state_.orders_come};
      lock.unlock();
      return link->connection().send_from_thread(resuming, Bytes{}, kSendDeadline);
    }
    const HeldChunk chunk = state_.held[next];
    ++state_.chunks_put;
    lock.unlock();
    link->connection().send_from_thread(ChunkPut{chunk.digest}, *chunk.bytes, kSendDeadline);
  }
}

Service::~Service() {
  {
    const Lock lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  if (keeper_.joinable()) keeper_.join();
  // Outside of the lock, which its thread may wait for.
  const std::shared_ptr<Link> last = std::exchange(link_, nullptr);
}

template <typename Ready>
Service::Lock Service::wait(Ready ready) {
  Lock lock(mutex_);
  changed_.wait(lock, [&] { return ready(state_) || state_.lost; });
  if (!ready(state_)) throw Error(*state_.lost);
  return lock;
}

void Service::send(const std::shared_ptr<Link>& link, const Message& message, Bytes payload) {
  try {
    link->connection().send_from_thread(message, std::move(payload), kSendDeadline);
  } catch (const Error& error) {
    // What must not be lost is said again to the next coordinator.
    if (!reconnects() || error.code() == ErrorCode::timed_out) throw;
  }
}

void Service::tell(const Message& message) {
  Lock lock(mutex_);
  if (state_.lost) throw Error(*state_.lost);
  if (!asks_flow_ && reconnects()) return;
  const std::shared_ptr<Link> link = link_;
  lock.unlock();
  send(link, message);
}

void Service::ask(const Message& message) {
  Lock lock(mutex_);
  if (state_.lost) throw Error(*state_.lost);
  state_.unanswered.push_back(message);
  if (!asks_flow_ && reconnects()) return;
  const std::shared_ptr<Link> link = link_;
  lock.unlock();
  send(link, message);
}

Message Service::next_order() {
  const auto lock = wait([](const State& state) { return !state.orders.empty(); });
  Message order = std::move(state_.orders.front());
  state_.orders.pop_front();
  if (const auto* quantize = std::get_if<QuantizeOrder>(&order)) on_order_taken(state_, *quantize);
  return order;
}

void Service::report_failure(const Error& error) {
  Lock lock(mutex_);
  const std::shared_ptr<Link> link = link_;
  lock.unlock();
  cluster::Connection& connection = link->connection();
  try {
    connection.send_from_thread(Failure{error.code(), error.what()}, Bytes{}, kFarewell);
    const auto deadline = Clock::now() + kFarewell;
    while (connection.queued_bytes() > 0 && !connection.closed() && Clock::now() < deadline) std::this_thread::yield();
  } catch (const Error&) {
    // The coordinator is gone; it will learn of the end from the launcher.
  }
}

void Service::keep_usage(const UsageDone& done) {
  std::uint64_t kept = 0;
  {
    const Lock lock(mutex_);
    kept = state_.usages_kept;
  }
  ask(done);
  wait([kept](const State& state) { return state.usages_kept > kept; });
}

ManifestReply Service::fetch_manifest(const std::string& ref) {
  ask(ManifestRequest{ref});
  const auto lock = wait([](const State& state) { return state.manifest || state.request_failed; });
  if (const auto failed = std::exchange(state_.request_failed, std::nullopt))
    throw Error(failed->code, failed->message);
  return *std::exchange(state_.manifest, std::nullopt);
}

Bytes Service::fetch_chunk(const Digest& digest) {
  ask(ChunkRequest{digest});
  const auto lock = wait([](const State& state) { return state.chunk || state.request_failed; });
  if (const auto failed = std::exchange(state_.request_failed, std::nullopt))
    throw Error(failed->code, failed->message);
  ChunkAnswer answer = *std::exchange(state_.chunk, std::nullopt);
  if (answer.digest != digest)
    throw Error(ErrorCode::corrupt,
                "asked for chunk " + digest.short_hex() + ", got " + answer.digest.short_hex());
  return std::move(answer.bytes);
}

void Service::put_chunk(const Digest& digest, std::vector<std::uint8_t> bytes) {
  Lock lock(mutex_);
  if (state_.lost) throw Error(*state_.lost);
  if (!reconnects()) {
    ++state_.chunks_put;
    lock.unlock();
    return send(link_, ChunkPut{digest}, std::move(bytes));
  }
  const auto held = std::make_shared<const Bytes>(std::move(bytes));
  state_.held.push_back({state_.step, digest, held});
  if (!puts_flow_) return;  // put_again() comes by here
  ++state_.chunks_put;
  const std::shared_ptr<Link> link = link_;
  lock.unlock();
  send(link, ChunkPut{digest}, *held);
}

void Service::wait_until_stored() {
  const auto lock = wait([this](const State& state) { return puts_flow_ && state.chunks_stored == state.chunks_put; });
  on_step_put(state_);
}

void Service::wait_for_commit(std::uint32_t artifact, std::uint32_t block) {
  const auto lock = wait([](const State& state) { return !state.commits.empty(); });
  const BlockCommitted committed = state_.commits.front();
  state_.commits.pop_front();
  if (committed.artifact != artifact || committed.block != block)
    throw Error(ErrorCode::internal, "the coordinator committed another block than the one just made");
}

void Service::commit_outer(const OuterDone& done) {
  ask(done);
  wait_for_commit(done.artifact, kOuterBlock);
}

void Service::commit_block(const BlockDone& done) {
  ask(done);
  wait_for_commit(done.artifact, done.block);
}

void Service::finish_artifact(const ArtifactDone& done) { ask(done); }

void Service::report_step(std::uint32_t artifact, std::uint32_t block, const std::string& step) {
  tell(Progress{artifact, block, step});
}

void Service::log(const std::string& line) { tell(LogLine{2, line}); }

void Service::describe(const BenchmarkInfo& info) { tell(info); }

LeaseGrant Service::next_lease(const LeaseRequest& request) {
  tell(request);
  const auto lock = wait([](const State& state) { return !state.grants.empty(); });
  LeaseGrant grant = std::move(state_.grants.front());
  state_.grants.pop_front();
  return grant;
}

void Service::renew_lease(const LeaseRenewal& renewal) { tell(renewal); }

void Service::return_verdicts(const VerdictsDone& done) { tell(done); }

void Service::abandon(const Error& reason) {
  const Lock lock(mutex_);
  on_coordinator_lost(state_, reason);
  changed_.notify_all();
}

}  // namespace quench::worker
