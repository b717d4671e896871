// A device without a GPU: runs the kernels of kernels/cuda phase by phase on the host, in memory apart from the host's
// (what is not copied does not arrive), filled with NaN when allocated. Threads of a phase run forwards or, in
// a second kind, backwards: a phase whose threads need one another's results gives different ones.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/cuda/cuda_backend.h"

namespace quench::kernels {

enum class ThreadOrder { forwards, backwards };

struct EmulatedOptions {
  ThreadOrder order = ThreadOrder::forwards;
  std::size_t bytes_max = std::size_t{4} << 30;  // "GPU memory"
};
std::unique_ptr<cuda::Device> make_emulated_device(const EmulatedOptions& options);
std::unique_ptr<Backend> make_emulated_backend(cuda::Arithmetic arithmetic, const EmulatedOptions& options = {});

}  // namespace quench::kernels
