// A rank's (or a child's) link to the coordinator: the rim between its thread and the compute thread. The link's
// thread files messages into State; the compute thread calls the blocking methods below, each of which throws the Error
// that ended the link for good. A coordinator that is lost for good also sets the AbortFlag, so that a rank waiting
// inside a collective ends.
//
// Ranks of a service outlive it: when the connection ends they work on as far as they can without answers, keep what no
// commit has named, and a thread of their own dials the next service (backing off to a try every 5 s), puts again what is not
// durable and says again what was not answered. Everything may so arrive twice: chunks by their digest, the rest is compared.
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "cluster/collective/collective.h"
#include "cluster/net/endpoint.h"
#include "cluster/net/handshake.h"
#include "worker/evaluate/evaluation.h"
#include "worker/link.h"
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
  // How long the next coordinator is waited for when this one is lost, and the file where its endpoint will stand; 0: not
  // at all.
  std::chrono::seconds reconnect{0};
  std::filesystem::path endpoint_file = {};
  std::filesystem::path certificate = {};  // PEM: by what an encrypted coordinator is known
};

class Service final : public ShardSink, public LeaseSource {
 public:
  // Dials and proves itself, as long as it would later; throws Error(unreachable, refused, timed_out). `abort` may be null.
  Service(const ServiceOptions& options, cluster::AbortFlag* abort);
  ~Service() override;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // The next order of the coordinator; waits for it.
  Message next_order();
  // Tells why this rank is about to end, and gives the message a moment to leave.
  void report_failure(const Error& error);

  // For those who watch; lost when nobody listens.
  void report_status(const WorkerStatus& status) { tell(status); }
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
  using Lock = std::unique_lock<std::mutex>;

  bool reconnects() const { return options_.reconnect.count() > 0; }
  cluster::Endpoint endpoint() const;
  // Dials until it is let in or `until`. Throws why not. Holds no lock.
  std::shared_ptr<Link> dial(std::chrono::steady_clock::time_point until);
  void take_up(const std::shared_ptr<Link>& link);
  void put_again(const std::shared_ptr<Link>& link);
  void give_up(const Error& lost, Lock& lock);
  // Thread of its own: the next coordinator, or the end of the process.
  void keep();
  void on_message(Link& link, Message message, Bytes payload);  // link's thread

  // Of no use later: dropped while there is no coordinator.
  void tell(const Message& message);
  // Kept until it is answered.
  void ask(const Message& message);
  void send(const std::shared_ptr<Link>& link, const Message& message, Bytes payload = {});
  // Waits until `ready(state)` under the lock; throws when the coordinator is lost.
  template <typename Ready>
  Lock wait(Ready ready);
  void wait_for_commit(std::uint32_t artifact, std::uint32_t block);

  ServiceOptions options_;
  cluster::AbortFlag* abort_;
  std::mutex mutex_;
  std::condition_variable changed_;
  State state_;
  // Two owners: this service and a call of the compute thread that is sending.
  std::shared_ptr<Link> link_;
  cluster::Endpoint dialled_;  // where link_ ends
  bool puts_flow_ = false;     // chunks that are put now go out by themselves
  bool asks_flow_ = false;     // so do requests: the coordinator knows how far this rank is
  std::optional<Error> dropped_;  // why link_ ended, until keep() has seen it
  bool ending_ = false;
  std::thread keeper_;
};

}  // namespace quench::worker
