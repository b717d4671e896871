// A rank's (or a child's) link to the coordinator: the rim between the event loop and the compute
// thread. The loop runs on a thread of its own and files messages into State; the compute thread calls
// the blocking methods below, each of which throws the Error that ended the link. A lost coordinator
// also sets the AbortFlag, so that a rank waiting inside a collective ends.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "cluster/collective/collective.h"
#include "cluster/net/endpoint.h"
#include "cluster/net/handshake.h"
#include "worker/evaluate/evaluation.h"
#include "worker/quantize/shard_sink.h"
#include "worker/state.h"

namespace quench::worker {

struct ServiceOptions {
  cluster::Endpoint coordinator;
  AttemptNumber attempt;  // 0 for readers and evaluation workers
  std::string secret;     // empty on a Unix socket
  Hello hello;
  // When set, the process ends with exit code 75 this long after the coordinator was lost, even in the
  // middle of a kernel: nothing of a dead run may stay behind.
  std::optional<std::chrono::milliseconds> exit_after_loss;
};

class Service final : public ShardSink, public LeaseSource {
 public:
  // Dials and proves itself; throws Error(unreachable, refused, timed_out). `abort` may be null.
  Service(const ServiceOptions& options, cluster::AbortFlag* abort);
  ~Service() override;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // The next order of the coordinator; waits for it.
  Message next_order();
  // Tells why this rank is about to end, and gives the message a moment to leave.
  void report_failure(const Error& error);

  // Hands over what a phase took; waits until the coordinator keeps it.
  void keep_usage(const UsageDone& done);

  ManifestReply fetch_manifest(const std::string& ref);
  Bytes fetch_chunk(const Digest& digest);

  void put_chunk(const Digest& digest, std::vector<std::uint8_t> bytes) override;
  void wait_until_stored() override;
  void commit_outer(const OuterDone& done) override;
  void commit_block(const BlockDone& done) override;
  void finish_artifact(const ArtifactDone& done) override;
  void report_step(std::uint32_t artifact, std::uint32_t block, const std::string& step) override;
  void log(const std::string& line) override;

  void describe(const BenchmarkInfo& info) override;
  LeaseGrant next_lease(const LeaseRequest& request) override;
  void renew_lease(const LeaseRenewal& renewal) override;
  void return_verdicts(const VerdictsDone& done) override;
  void abandon(const Error& reason) override;

 private:
  void send(const Message& message, Bytes payload = {});
  // Waits until `ready(state)` under the lock; throws when the coordinator is lost.
  template <typename Ready>
  std::unique_lock<std::mutex> wait(Ready ready);
  void wait_for_commit(std::uint32_t artifact, std::uint32_t block);
  void end_later();  // loop thread

  cluster::Loop loop_;
  std::unique_ptr<cluster::Connection> connection_;
  cluster::AbortFlag* abort_;
  std::mutex mutex_;
  std::condition_variable changed_;
  State state_;
  std::optional<std::chrono::milliseconds> exit_after_loss_;
  std::optional<boost::asio::steady_timer> last_moment_;  // loop thread
  std::thread thread_;
};

}  // namespace quench::worker
