// How kernels run on the GPU, and how CUDA's errors leave it. Included by .cu files only.
#pragma once

#include <string>

#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/device.h"

namespace quench::kernels::cuda {

inline void check_cuda(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  // Take the error off, where it can be taken off.
  cudaGetLastError();
  throw DeviceError(std::string(call) + ": " + cudaGetErrorName(code) + ": " + cudaGetErrorString(code));
}
#define QUENCH_CUDA_CALL(call) ::quench::kernels::cuda::check_cuda((call), #call)

// A phase of group.h on the GPU: this thread's share, then all meet.
class CudaGroup {
 public:
  QUENCH_DEVICE std::int64_t x() const { return blockIdx.x; }
  QUENCH_DEVICE std::int64_t y() const { return blockIdx.y; }
  QUENCH_DEVICE std::int64_t z() const { return blockIdx.z; }
  template <typename Phase>
  QUENCH_DEVICE void each(const Phase& phase) {
    phase(static_cast<int>(threadIdx.x));
    __syncthreads();
  }
  template <typename T>
  class Local {
   public:
    QUENCH_DEVICE explicit Local(const CudaGroup&) {}
    QUENCH_DEVICE T& operator[](int) { return value_; }

   private:
    T value_;
  };
  QUENCH_DEVICE void atomic_max(std::int32_t* at, std::int32_t value) { atomicMax(at, value); }
};

// Blocks of a multiprocessor that registers must leave room for; what a kernel says as kBlocks, or one.
template <typename Kernel>
constexpr int blocks_at_once() {
  if constexpr (requires { Kernel::kBlocks; })
    return Kernel::kBlocks;
  else
    return 1;
}

template <typename Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, blocks_at_once<Kernel>()) run_kernel(const __grid_constant__ Kernel kernel) {
  __shared__ typename Kernel::Shared shared;
  CudaGroup group;
  kernel(group, shared);
}

template <typename Kernel>
void launch_kernel(const Stream& stream, const Kernel& kernel, Grid grid, const char* name) {
  if (grid.x < 1 || grid.y < 1 || grid.z < 1) return;
  const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z));
  run_kernel<Kernel><<<blocks, Kernel::kThreads, 0, static_cast<cudaStream_t>(stream.handle)>>>(kernel);
  check_cuda(cudaGetLastError(), name);
}

}  // namespace quench::kernels::cuda

// The launches of one file.
#define QUENCH_DEFINE_LAUNCH(Kernel)                                      \
  void launch_on(const Stream& stream, const Kernel& kernel, Grid grid) { \
    launch_kernel(stream, kernel, grid, "launch of " #Kernel);            \
  }
