#include "cluster/collective/nccl_transport.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "cluster/collective/peer_collective.h"

namespace quench::cluster {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

// Behind each segment's bytes: NCCL has no tags, and two ranks in different operations of one size would mix tensors.
struct Trailer {
  std::uint64_t operation = 0;
  std::uint64_t bytes = 0;
};

class NcclTransport final : public PeerTransport {
 public:
  NcclTransport(std::unique_ptr<NcclLink> link, const CollectiveOptions& options)
      : options_(options), link_(std::move(link)), out_(link_->bytes_max()), in_(link_->bytes_max()) {
    QUENCH_CHECK(link_->bytes_max() >= options_.segment_bytes + sizeof(Trailer), link_->bytes_max(),
                 options_.segment_bytes);
    in_context("making the NCCL communicator of " + std::to_string(world()) + " ranks", [&] { wait({}, {}); });
  }

  std::uint32_t rank() const override { return link_->rank(); }
  std::uint32_t world() const override { return link_->world(); }

  void exchange(const Outgoing& out, const Incoming& in, std::uint64_t operation) override {
    if (out.bytes.empty() && in.bytes.empty()) return;
    std::span<std::uint8_t> sent, received;
    if (!out.bytes.empty()) {
      const Trailer trailer{operation, out.bytes.size()};
      sent = std::span(out_).first(out.bytes.size() + sizeof trailer);
      std::memcpy(sent.data(), out.bytes.data(), out.bytes.size());
      std::memcpy(sent.data() + out.bytes.size(), &trailer, sizeof trailer);
    }
    if (!in.bytes.empty()) received = std::span(in_).first(in.bytes.size() + sizeof(Trailer));
    try {
      link_->start(out.to, sent, in.from, received);
    } catch (...) {
      abort();
      throw;
    }
    wait(out, in);
    if (in.bytes.empty()) return;
    Trailer trailer;
    std::memcpy(&trailer, received.data() + in.bytes.size(), sizeof trailer);
    if (trailer.operation != operation || trailer.bytes != in.bytes.size())
      throw Error(ErrorCode::internal, "rank " + std::to_string(in.from) + " is in another operation (" +
                                           std::to_string(trailer.operation) + " of " + std::to_string(trailer.bytes) +
                                           " bytes, not " + std::to_string(operation) + " of " +
                                           std::to_string(in.bytes.size()) + ")");
    std::memcpy(in.bytes.data(), received.data(), in.bytes.size());
  }

  void on_broken() override { abort(); }

 private:
  // Until poll() says that all is there. As with MPI the core is free while a rank waits: at first looked at again at
  // once, then with the core given away, then with sleeps of up to half a millisecond.
  void wait(const Outgoing& out, const Incoming& in) {
    const Clock::time_point start = Clock::now();
    microseconds sleep{20};
    try {
      while (!link_->poll()) {
        const Clock::duration waited = Clock::now() - start;
        if (options_.abort != nullptr) options_.abort->check();
        if (missed(options_, waited))
          throw no_progress_error(options_.progress_ms_max, out, in);
        if (waited < microseconds(20)) continue;
        if (waited < microseconds(500)) {
          std::this_thread::yield();
          continue;
        }
        std::this_thread::sleep_for(sleep);
        sleep = std::min(sleep * 2, microseconds(500));
      }
    } catch (...) {
      abort();
      throw;
    }
  }
  void abort() {
    if (!std::exchange(aborted_, true)) link_->abort();
  }

  CollectiveOptions options_;
  std::unique_ptr<NcclLink> link_;
  Bytes out_, in_;
  bool aborted_ = false;
};

}  // namespace

std::unique_ptr<PeerTransport> make_nccl_transport(std::unique_ptr<NcclLink> link, const CollectiveOptions& options) {
  return std::make_unique<NcclTransport>(std::move(link), options);
}

std::unique_ptr<Collective> make_nccl_collective(Collective& control, int device, const CollectiveOptions& options) {
  // Rank 0 may fail to make an id; the others then learn it from an empty message instead of waiting for one.
  Bytes id;
  std::optional<Error> failed;
  if (control.rank() == 0) {
    try {
      id = make_nccl_id();
    } catch (const Error& error) {
      failed = error;
    }
  }
  const std::vector<Bytes> ids = control.all_gather_bytes(id, "NCCL id");
  if (failed) throw *failed;
  if (ids.front().empty())
    throw Error(ErrorCode::failed, "rank 0 could not begin a communicator of NCCL; its own message says why");
  auto link = make_nccl_link(ids.front(), control.rank(), control.world(), device,
                             options.segment_bytes + sizeof(Trailer));
  return std::make_unique<PeerCollective>(make_nccl_transport(std::move(link), options), options);
}

}  // namespace quench::cluster
