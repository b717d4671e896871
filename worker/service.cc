#include "worker/service.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <cstdlib>
#include <utility>

#include "worker/reactor.h"

namespace quench::worker {
namespace {

// A coordinator that takes nothing for so long is stuck; its own limit on silence is far shorter.
constexpr std::chrono::milliseconds kSendDeadline{60'000};
constexpr std::chrono::milliseconds kFarewell{2'000};

}  // namespace

Service::Service(const ServiceOptions& options, cluster::AbortFlag* abort)
    : abort_(abort), exit_after_loss_(options.exit_after_loss) {
  cluster::DialOptions dial_options;
  dial_options.attempt = options.attempt;
  dial_options.secret = options.secret;
  dial_options.connection.attempt = options.attempt;
  cluster::Dialed dialed = cluster::dial(loop_, options.coordinator, options.hello, dial_options);
  connection_ = std::move(dialed.connection);

  cluster::ConnectionHandlers handlers;
  handlers.on_message = [this](Message message, Bytes payload) {
    const std::lock_guard lock(mutex_);
    on_message(state_, std::move(message), std::move(payload));
    changed_.notify_all();
  };
  handlers.on_closed = [this](const Error& reason) {
    const Error lost(ErrorCode::interrupted, std::string("lost the coordinator: ") + reason.what());
    if (abort_ != nullptr) abort_->set(lost);
    const std::lock_guard lock(mutex_);
    on_coordinator_lost(state_, lost);
    changed_.notify_all();
    if (exit_after_loss_) end_later();
  };
  connection_->set_handlers(std::move(handlers));
  thread_ = std::thread([this] {
    const auto guard = boost::asio::make_work_guard(loop_);
    loop_.restart();
    loop_.run();
  });
}

void Service::end_later() {
  last_moment_.emplace(loop_, *exit_after_loss_);
  last_moment_->async_wait([](const boost::system::error_code& cancelled) {
    if (!cancelled) std::_Exit(exit_code(ErrorCode::interrupted));
  });
}

Service::~Service() {
  boost::asio::post(loop_, [this] {
    connection_.reset();
    last_moment_.reset();
    loop_.stop();
  });
  thread_.join();
}

template <typename Ready>
std::unique_lock<std::mutex> Service::wait(Ready ready) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ready(state_) || state_.lost; });
  if (!ready(state_)) throw Error(*state_.lost);
  return lock;
}

void Service::send(const Message& message, Bytes payload) {
  connection_->send_from_thread(message, std::move(payload), kSendDeadline);
}

Message Service::next_order() {
  const auto lock = wait([](const State& state) { return !state.orders.empty(); });
  Message order = std::move(state_.orders.front());
  state_.orders.pop_front();
  return order;
}

void Service::report_failure(const Error& error) {
  try {
    connection_->send_from_thread(Failure{error.code(), error.what()}, Bytes{}, kFarewell);
    const auto deadline = std::chrono::steady_clock::now() + kFarewell;
    while (connection_->queued_bytes() > 0 && !connection_->closed() &&
           std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
  } catch (const Error&) {
    // The coordinator is gone; it will learn of the end from the launcher.
  }
}

void Service::keep_usage(const UsageDone& done) {
  std::uint64_t kept = 0;
  {
    const std::lock_guard lock(mutex_);
    kept = state_.usages_kept;
  }
  send(done);
  wait([kept](const State& state) { return state.usages_kept > kept; });
}

ManifestReply Service::fetch_manifest(const std::string& ref) {
  send(ManifestRequest{ref});
  const auto lock = wait([](const State& state) { return state.manifest || state.request_failed; });
  if (const auto failed = std::exchange(state_.request_failed, std::nullopt))
    throw Error(failed->code, failed->message);
  return *std::exchange(state_.manifest, std::nullopt);
}

Bytes Service::fetch_chunk(const Digest& digest) {
  send(ChunkRequest{digest});
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
  {
    const std::lock_guard lock(mutex_);
    ++state_.chunks_put;
  }
  send(ChunkPut{digest}, std::move(bytes));
}

void Service::wait_until_stored() {
  wait([](const State& state) { return state.chunks_stored == state.chunks_put; });
}

void Service::wait_for_commit(std::uint32_t artifact, std::uint32_t block) {
  const auto lock = wait([](const State& state) { return !state.commits.empty(); });
  const BlockCommitted committed = state_.commits.front();
  state_.commits.pop_front();
  if (committed.artifact != artifact || committed.block != block)
    throw Error(ErrorCode::internal, "the coordinator committed another block than the one just made");
}

void Service::commit_outer(const OuterDone& done) {
  send(done);
  wait_for_commit(done.artifact, kOuterBlock);
}

void Service::commit_block(const BlockDone& done) {
  send(done);
  wait_for_commit(done.artifact, done.block);
}

void Service::finish_artifact(const ArtifactDone& done) { send(done); }

void Service::report_step(std::uint32_t artifact, std::uint32_t block, const std::string& step) {
  send(Progress{artifact, block, step});
}

void Service::log(const std::string& line) { send(LogLine{2, line}); }

void Service::describe(const BenchmarkInfo& info) { send(info); }

LeaseGrant Service::next_lease(const LeaseRequest& request) {
  send(request);
  const auto lock = wait([](const State& state) { return !state.grants.empty(); });
  LeaseGrant grant = std::move(state_.grants.front());
  state_.grants.pop_front();
  return grant;
}

void Service::renew_lease(const LeaseRenewal& renewal) { send(renewal); }

void Service::return_verdicts(const VerdictsDone& done) { send(done); }

void Service::abandon(const Error& reason) {
  const std::lock_guard lock(mutex_);
  on_coordinator_lost(state_, reason);
  changed_.notify_all();
}

}  // namespace quench::worker
