#include "cluster/collective/mpi_transport.h"

#include <mpi.h>

#include <array>
#include <chrono>
#include <thread>
#include <utility>

#include "cluster/collective/mpi_error.h"

namespace quench::cluster {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

// The standard promises tags up to 32767.
constexpr std::uint64_t kTags = 32'000;

// Marks the token that precedes a large segment; operations use the tags below.
constexpr int kReadyTag = 32'500;
constexpr std::size_t kLargeBytes = 64 << 10;

// Open MPI's own waiting spins on the core the compute threads need. A peer that is already there answers
// within the first 20 µs; one that will be there soon is waited for by giving the core away; a
// longer wait sleeps, up to half a millisecond at a time. While a large segment is under way the peer is
// known to be there, and each sleep would leave its fragments lying: then the core is only given away,
// for as long as 8 MiB may take at 200 MB/s.
enum class Wait { for_peer, for_bytes };

class Backoff {
 public:
  explicit Backoff(Wait wait)
      : yield_(wait == Wait::for_peer ? microseconds(500) : microseconds(40'000)),
        sleep_max_(wait == Wait::for_peer ? microseconds(500) : microseconds(50)) {}
  // Returns how long the wait has been.
  Clock::duration pause() {
    const Clock::duration waited = Clock::now() - start_;
    if (waited < microseconds(20)) return waited;
    if (waited < yield_) {
      std::this_thread::yield();
      return waited;
    }
    std::this_thread::sleep_for(sleep_);
    sleep_ = std::min(sleep_ * 2, sleep_max_);
    return waited;
  }

 private:
  Clock::time_point start_ = Clock::now();
  microseconds yield_;
  microseconds sleep_max_;
  microseconds sleep_{20};
};

class MpiTransport final : public PeerTransport {
 public:
  MpiTransport(const CollectiveOptions& options, std::shared_ptr<std::atomic<bool>> broken)
      : options_(options), broken_(std::move(broken)) {
    QUENCH_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &communicator_));
    QUENCH_MPI(MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN));
    QUENCH_MPI(MPI_Comm_rank(communicator_, &rank_));
    QUENCH_MPI(MPI_Comm_size(communicator_, &world_));
  }
  // Freeing is itself a collective call, so a broken gang leaves it to the abort.
  ~MpiTransport() override {
    if (!*broken_) MPI_Comm_free(&communicator_);
  }
  MpiTransport(const MpiTransport&) = delete;
  MpiTransport& operator=(const MpiTransport&) = delete;

  std::uint32_t rank() const override { return static_cast<std::uint32_t>(rank_); }
  std::uint32_t world() const override { return static_cast<std::uint32_t>(world_); }

  void exchange(const Outgoing& out, const Incoming& in, std::uint64_t operation) override {
    const bool large_out = out.bytes.size() > kLargeBytes;
    const bool large_in = in.bytes.size() > kLargeBytes;
    if (large_out || large_in) {
      // The receiver of a large segment says that it is there; waiting for that is what may take long.
      Requests tokens;
      if (large_out)
        QUENCH_MPI(MPI_Irecv(nullptr, 0, MPI_BYTE, to_int(out.to), kReadyTag, communicator_, &tokens[0]));
      if (large_in)
        QUENCH_MPI(MPI_Isend(nullptr, 0, MPI_BYTE, to_int(in.from), kReadyTag, communicator_, &tokens[1]));
      wait(tokens, Wait::for_peer, out, in);
    }
    const int tag = static_cast<int>(operation % kTags);
    Requests requests;
    if (!in.bytes.empty())
      QUENCH_MPI(MPI_Irecv(in.bytes.data(), to_int(in.bytes.size()), MPI_BYTE, to_int(in.from), tag,
                           communicator_, &requests[0]));
    if (!out.bytes.empty())
      QUENCH_MPI(MPI_Isend(out.bytes.data(), to_int(out.bytes.size()), MPI_BYTE, to_int(out.to), tag,
                           communicator_, &requests[1]));
    const MPI_Status received =
        wait(requests, large_out || large_in ? Wait::for_bytes : Wait::for_peer, out, in);
    if (in.bytes.empty()) return;
    int count = 0;
    QUENCH_MPI(MPI_Get_count(&received, MPI_BYTE, &count));
    if (static_cast<std::size_t>(count) != in.bytes.size())
      throw Error(ErrorCode::internal, "rank " + std::to_string(in.from) + " sent " + std::to_string(count) +
                                           " bytes where " + std::to_string(in.bytes.size()) +
                                           " were expected: the ranks disagree on the operation");
  }
  void on_broken() override { *broken_ = true; }

 private:
  struct Requests : std::array<MPI_Request, 2> {
    Requests() { fill(MPI_REQUEST_NULL); }
  };
  // Ranks, and segments of 8 MiB at most.
  static int to_int(std::size_t value) { return static_cast<int>(value); }

  // The first request's status once both are complete. Throws as exchange() does.
  MPI_Status wait(Requests& requests, Wait kind, const Outgoing& out, const Incoming& in) const {
    std::array<MPI_Status, 2> statuses{};
    Backoff backoff(kind);
    for (;;) {
      int done = 0;
      const int code = MPI_Testall(2, requests.data(), &done, statuses.data());
      if (code == MPI_ERR_IN_STATUS)
        for (const MPI_Status& status : statuses) check_mpi(status.MPI_ERROR, "MPI_Testall");
      check_mpi(code, "MPI_Testall");
      if (done) return statuses[0];
      const Clock::duration waited = backoff.pause();
      if (options_.abort != nullptr) options_.abort->check();
      if (missed(options_, waited))
        throw no_progress_error(options_.progress_ms_max, out, in);
    }
  }

  CollectiveOptions options_;
  std::shared_ptr<std::atomic<bool>> broken_;
  MPI_Comm communicator_ = MPI_COMM_NULL;
  int rank_ = 0;
  int world_ = 1;
};

}  // namespace

std::unique_ptr<PeerTransport> make_mpi_transport(const CollectiveOptions& options,
                                                  std::shared_ptr<std::atomic<bool>> broken) {
  return std::make_unique<MpiTransport>(options, std::move(broken));
}

}  // namespace quench::cluster
