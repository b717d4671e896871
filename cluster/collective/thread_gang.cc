#include "cluster/collective/thread_gang.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "cluster/collective/peer_collective.h"

namespace quench::cluster {
namespace {

using Clock = std::chrono::steady_clock;
// How often a waiting thread looks at the AbortFlag, which cannot wake it.
constexpr std::chrono::milliseconds kAbortPoll{5};

// One box for each pair of threads; a segment is copied in by its sender and out by its receiver.
class Mailboxes {
 public:
  explicit Mailboxes(std::uint32_t world) : world_(world), boxes_(std::size_t{world} * world) {}
  std::uint32_t world() const { return world_; }

  void put(std::uint32_t from, std::uint32_t to, std::uint64_t operation, Bytes bytes) {
    {
      const std::lock_guard lock(mutex_);
      box(from, to).push_back({operation, std::move(bytes)});
    }
    arrived_.notify_all();
  }

  // Waits for a segment until `until`; false when none came. Throws when the gang is broken.
  bool take(std::uint32_t from, std::uint32_t to, std::uint64_t operation, std::span<std::uint8_t> into,
            Clock::time_point until) {
    std::unique_lock lock(mutex_);
    std::deque<Segment>& mail = box(from, to);
    arrived_.wait_until(lock, until, [&] { return !mail.empty() || broken_; });
    if (mail.empty() && broken_)
      throw Error(ErrorCode::interrupted, "another rank of the gang failed: " + broken_->message());
    if (mail.empty()) return false;
    if (mail.front().operation != operation || mail.front().bytes.size() != into.size())
      throw Error(ErrorCode::internal, "rank " + std::to_string(from) + " is in another operation (" +
                                           std::to_string(mail.front().operation) + " of " +
                                           std::to_string(mail.front().bytes.size()) + " bytes, not " +
                                           std::to_string(operation) + " of " + std::to_string(into.size()) +
                                           ")");
    std::copy(mail.front().bytes.begin(), mail.front().bytes.end(), into.begin());
    mail.pop_front();
    return true;
  }

  void break_all(const Error& reason) {
    {
      const std::lock_guard lock(mutex_);
      if (!broken_) broken_ = reason;
    }
    arrived_.notify_all();
  }

 private:
  struct Segment {
    std::uint64_t operation;
    Bytes bytes;
  };
  std::deque<Segment>& box(std::uint32_t from, std::uint32_t to) {
    return boxes_[std::size_t{from} * world_ + to];
  }

  std::uint32_t world_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<std::deque<Segment>> boxes_;
  std::optional<Error> broken_;
};

class MailTransport final : public PeerTransport {
 public:
  MailTransport(Mailboxes& boxes, std::uint32_t rank, const CollectiveOptions& options)
      : boxes_(boxes), rank_(rank), options_(options) {}
  std::uint32_t rank() const override { return rank_; }
  std::uint32_t world() const override { return boxes_.world(); }

  void exchange(const Outgoing& out, const Incoming& in, std::uint64_t operation) override {
    if (!out.bytes.empty()) boxes_.put(rank_, out.to, operation, Bytes(out.bytes.begin(), out.bytes.end()));
    if (in.bytes.empty()) return;
    const auto deadline = Clock::now() + std::chrono::milliseconds(options_.progress_ms_max);
    while (!boxes_.take(in.from, rank_, operation, in.bytes, std::min(deadline, Clock::now() + kAbortPoll))) {
      if (options_.abort != nullptr) options_.abort->check();
      if (Clock::now() >= deadline) throw no_progress_error(options_.progress_ms_max, {}, in);
    }
  }
  void on_broken() override {}  // run_thread_gang tells the others

 private:
  Mailboxes& boxes_;
  std::uint32_t rank_;
  CollectiveOptions options_;
};

}  // namespace

void run_thread_gang(std::uint32_t world, const CollectiveOptions& options,
                     const std::function<void(Collective&)>& body) {
  Mailboxes boxes(world);
  std::mutex mutex;
  std::exception_ptr first;
  const auto run_rank = [&](std::uint32_t rank) {
    const auto fail = [&](const Error& reason) {
      {
        const std::lock_guard lock(mutex);
        if (!first) first = std::current_exception();
      }
      boxes.break_all(reason);
    };
    try {
      PeerCollective collective(std::make_unique<MailTransport>(boxes, rank, options), options);
      body(collective);
    } catch (const Error& error) {
      fail(error);
    } catch (const std::exception& error) {  // rethrown below, on the caller's thread
      fail(Error(ErrorCode::internal, error.what()));
    }
  };
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t rank = 0; rank < world; ++rank) threads.emplace_back(run_rank, rank);
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace quench::cluster
