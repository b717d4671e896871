#include "kernels/cuda/cuda_device.h"

namespace quench::kernels::cuda {

std::unique_ptr<Device> open_cuda_device(int) {
  throw DeviceError(
      "this build has no GPU backend: nvcc was not found when it was configured (or -DQUENCH_CUDA=OFF was given); build on a "
      "machine with the CUDA toolkit, or choose a CPU backend");
}
int visible_device_count() noexcept { return 0; }

}  // namespace quench::kernels::cuda
