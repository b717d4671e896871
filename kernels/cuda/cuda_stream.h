// What the .cu files share: the stream everything runs in, and each kernel's launch.
#pragma once

#include "kernels/cuda/device.h"

namespace quench::kernels::cuda {

struct Stream {
  void* handle = nullptr;  // cudaStream_t
  int multiprocessors = 0;
};

#define QUENCH_LAUNCH(Kernel) void launch_on(const Stream& stream, const Kernel& kernel, Grid grid);
QUENCH_DEVICE_KERNELS(QUENCH_LAUNCH)
#undef QUENCH_LAUNCH

}  // namespace quench::kernels::cuda
