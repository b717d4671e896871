// How a kernel's text runs on two machines. A kernel is a struct of plain operands with
//
//   static constexpr int kThreads;               threads of a block
//   struct Shared;                               what the block shares
//   template <typename Group> void operator()(Group& group, Shared& shared) const;
//
// and its body is a row of phases, `group.each([&](int thread) { … })`, between which all threads of the block
// meet. On the GPU a phase is run once by every thread and ends with __syncthreads(); on the host it is a loop
// over the threads (tests/kernels/emulated_device.h), so that what decides a bit, the index arithmetic and
// the places where threads must meet are tested where there is no GPU, to the bit against the CPU.
// What a thread keeps from phase to phase is a `Group::Local<T>`, indexed by the thread. Only code that all threads
// run alike stands outside a phase.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define QUENCH_DEVICE __device__ __forceinline__
#define QUENCH_UNROLL _Pragma("unroll")
#define QUENCH_ROLLED _Pragma("unroll 1")
#else
#define QUENCH_DEVICE inline
#define QUENCH_UNROLL
#define QUENCH_ROLLED
#endif

namespace quench::kernels::cuda {

// Blocks of a launch.
struct Grid {
  std::int64_t x = 1;
  std::int64_t y = 1;
  std::int64_t z = 1;
};

}  // namespace quench::kernels::cuda
