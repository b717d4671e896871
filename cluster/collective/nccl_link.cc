// NCCL behind its fence: a communicator that never blocks (every call may answer ncclInProgress, which poll() follows
// up), a stream and staging memory of its own. The caller's bytes lie on the host; they go through pinned memory
// and the GPU's, where NCCL takes them.
#include "cluster/collective/nccl_link.h"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstring>
#include <string>

namespace quench::cluster {
namespace {

void check_cuda(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  throw Error(ErrorCode::failed, std::string(call) + ": " + cudaGetErrorName(code) + ": " + cudaGetErrorString(code));
}
#define QUENCH_CUDA(call) check_cuda((call), #call)

// ncclInProgress is no error on a communicator that does not block.
void check_nccl(ncclResult_t code, ncclComm_t communicator, const char* call) {
  if (code == ncclSuccess || code == ncclInProgress) return;
  std::string text = std::string(call) + ": " + ncclGetErrorString(code);
  const char* more = ncclGetLastError(communicator);
  if (more != nullptr && *more != '\0') text += ": " + std::string(more);
  throw Error(ErrorCode::failed, text);
}
#define QUENCH_NCCL(call) check_nccl((call), communicator_, #call)

class Nccl final : public NcclLink {
 public:
  Nccl(std::span<const std::uint8_t> id, std::uint32_t rank, std::uint32_t world, int device, std::size_t bytes_max)
      : rank_(rank), world_(world), device_(device), bytes_max_(bytes_max) {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || device < 0 || device >= devices) {
      cudaGetLastError();
      throw Error(ErrorCode::bad_input, "NCCL: rank " + std::to_string(rank) + " is to use GPU " +
                                            std::to_string(device) + " but CUDA sees " + std::to_string(devices) +
                                            " here; start one rank per GPU, or let the ranks talk MPI");
    }
    ncclUniqueId unique;
    QUENCH_CHECK(id.size() == sizeof unique, id.size(), sizeof unique);
    std::memcpy(&unique, id.data(), sizeof unique);
    try {
      QUENCH_CUDA(cudaSetDevice(device_));
      QUENCH_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
      for (Staging* staging : {&out_, &in_}) {
        QUENCH_CUDA(cudaMallocHost(&staging->host, bytes_max_));
        QUENCH_CUDA(cudaMalloc(&staging->device, bytes_max_));
      }
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = 0;
      QUENCH_NCCL(ncclCommInitRankConfig(&communicator_, static_cast<int>(world_), unique, static_cast<int>(rank_), &config));
    } catch (...) {
      abort();
      free_memory();
      throw;
    }
  }
  // Finalising waits for the other ranks, so it may not outlast them: an abort ends this side alone, and every
  // operation of this rank is complete by then.
  ~Nccl() override {
    abort();
    free_memory();
  }
  Nccl(const Nccl&) = delete;
  Nccl& operator=(const Nccl&) = delete;

  std::uint32_t rank() const override { return rank_; }
  std::uint32_t world() const override { return world_; }
  std::size_t bytes_max() const override { return bytes_max_; }

  void start(std::uint32_t to, std::span<const std::uint8_t> out, std::uint32_t from,
             std::span<std::uint8_t> in) override {
    QUENCH_CHECK(out.size() <= bytes_max_ && in.size() <= bytes_max_, out.size(), in.size(), bytes_max_);
    QUENCH_CUDA(cudaSetDevice(device_));
    if (!out.empty()) {
      std::memcpy(out_.host, out.data(), out.size());
      QUENCH_CUDA(cudaMemcpyAsync(out_.device, out_.host, out.size(), cudaMemcpyHostToDevice, stream_));
    }
    QUENCH_NCCL(ncclGroupStart());
    if (!out.empty())
      QUENCH_NCCL(ncclSend(out_.device, out.size(), ncclUint8, static_cast<int>(to), communicator_, stream_));
    if (!in.empty())
      QUENCH_NCCL(ncclRecv(in_.device, in.size(), ncclUint8, static_cast<int>(from), communicator_, stream_));
    QUENCH_NCCL(ncclGroupEnd());
    in_bytes_ = in;
    stage_ = Stage::enqueueing;
  }

  bool poll() override {
    if (stage_ == Stage::idle) return true;
    ncclResult_t state = ncclSuccess;
    QUENCH_NCCL(ncclCommGetAsyncError(communicator_, &state));
    check_nccl(state, communicator_, "ncclCommGetAsyncError");
    if (state == ncclInProgress) return false;
    if (stage_ == Stage::making) {
      stage_ = Stage::idle;
      return true;
    }
    if (stage_ == Stage::enqueueing) {
      // Only now is the receive in the stream, so that a copy behind it is in order.
      if (!in_bytes_.empty())
        QUENCH_CUDA(cudaMemcpyAsync(in_.host, in_.device, in_bytes_.size(), cudaMemcpyDeviceToHost, stream_));
      stage_ = Stage::running;
    }
    const cudaError_t done = cudaStreamQuery(stream_);
    if (done == cudaErrorNotReady) {
      cudaGetLastError();  // it stays behind as the "last error" otherwise
      return false;
    }
    check_cuda(done, "cudaStreamQuery");
    if (!in_bytes_.empty()) std::memcpy(in_bytes_.data(), in_.host, in_bytes_.size());
    stage_ = Stage::idle;
    return true;
  }

  void abort() noexcept override {
    if (communicator_ != nullptr) ncclCommAbort(communicator_);
    communicator_ = nullptr;
  }

 private:
  enum class Stage { making, enqueueing, running, idle };
  struct Staging {
    void* host = nullptr;
    void* device = nullptr;
  };
  void free_memory() noexcept {
    if (stream_ != nullptr) cudaStreamSynchronize(stream_);
    for (const Staging& staging : {out_, in_}) {
      if (staging.host != nullptr) cudaFreeHost(staging.host);
      if (staging.device != nullptr) cudaFree(staging.device);
    }
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }

  std::uint32_t rank_;
  std::uint32_t world_;
  int device_;
  std::size_t bytes_max_;
  ncclComm_t communicator_ = nullptr;
  cudaStream_t stream_ = nullptr;
  Staging out_, in_;
  std::span<std::uint8_t> in_bytes_;
  Stage stage_ = Stage::making;
};

}  // namespace

Bytes make_nccl_id() {
  ncclUniqueId unique;
  check_nccl(ncclGetUniqueId(&unique), nullptr, "ncclGetUniqueId");
  Bytes id(sizeof unique);
  std::memcpy(id.data(), &unique, sizeof unique);
  return id;
}

std::unique_ptr<NcclLink> make_nccl_link(std::span<const std::uint8_t> id, std::uint32_t rank, std::uint32_t world,
                                         int device, std::size_t bytes_max) {
  return std::make_unique<Nccl>(id, rank, world, device, bytes_max);
}

bool has_nccl() { return true; }

}  // namespace quench::cluster
