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

// Open MPI's own waiting spins on the core the compute threads need. A peer that is already there answers
// within the first 20 µs; one that will be there soon is waited for by giving the core away; a
// longer wait sleeps, up to half a millisecond at a time.
class Backoff {
 public:
  // Returns how long the wait has been.
  Clock::duration pause() {
    const Clock::duration waited = Clock::now() - start_;
    if (waited < microseconds(20)) return waited;
    if (waited < microseconds(500)) {
      std::this_thread::yield();
      return waited;
    }
    std::this_thread::sleep_for(sleep_);
    sleep_ = std::min(sleep_ * 2, microseconds(500));
    return waited;
  }

 private:
  Clock::time_point start_ = Clock::now();
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
    const int tag = static_cast<int>(operation % kTags);
    std::array<MPI_Request, 2> requests{MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    if (!in.bytes.empty())
      QUENCH_MPI(MPI_Irecv(in.bytes.data(), static_cast<int>(in.bytes.size()), MPI_BYTE,
                           static_cast<int>(in.from), tag, communicator_, &requests[0]));
    if (!out.bytes.empty())
      QUENCH_MPI(MPI_Isend(out.bytes.data(), static_cast<int>(out.bytes.size()), MPI_BYTE,
                           static_cast<int>(out.to), tag, communicator_, &requests[1]));
    std::array<MPI_Status, 2> statuses;
    Backoff backoff;
    for (;;) {
      int done = 0;
      const int code = MPI_Testall(2, requests.data(), &done, statuses.data());
      if (code == MPI_ERR_IN_STATUS)
        for (const MPI_Status& status : statuses) check_mpi(status.MPI_ERROR, "MPI_Testall");
      check_mpi(code, "MPI_Testall");
      if (done) break;
      const Clock::duration waited = backoff.pause();
      if (options_.abort != nullptr) options_.abort->check();
      if (waited >= std::chrono::milliseconds(options_.progress_ms_max))
        throw no_progress_error(options_.progress_ms_max, out, in);
    }
    if (in.bytes.empty()) return;
    int count = 0;
    QUENCH_MPI(MPI_Get_count(&statuses[0], MPI_BYTE, &count));
    if (static_cast<std::size_t>(count) != in.bytes.size())
      throw Error(ErrorCode::internal, "rank " + std::to_string(in.from) + " sent " + std::to_string(count) +
                                           " bytes where " + std::to_string(in.bytes.size()) +
                                           " were expected: the ranks disagree on the operation");
  }
  void on_broken() override { *broken_ = true; }

 private:
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
