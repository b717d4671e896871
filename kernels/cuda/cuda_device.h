// The GPU as a Device; the only door to CUDA. cuda_device.cu has it, no_cuda.cc stands in where there was no nvcc.
#pragma once

#include <memory>

#include "kernels/cuda/device.h"

namespace quench::kernels::cuda {

// Throws DeviceError as make_cuda_backend does.
std::unique_ptr<Device> open_cuda_device(int ordinal);
int visible_device_count() noexcept;

}  // namespace quench::kernels::cuda
