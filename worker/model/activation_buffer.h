// Memory for activations that is reused from call to call: it grows to the largest shape asked for and never
// shrinks. Belongs to one thread.
#pragma once

#include <cstdint>

#include "kernels/memory.h"
#include "kernels/tensor_view.h"

namespace quench::worker {

class ActivationBuffer {
 public:
  // A [rows, cols] matrix with unset contents, in the backend's memory (Backend::memory), which outlives this. The view
  // before it becomes invalid.
  kernels::MatrixView matrix(std::int64_t rows, std::int64_t cols, kernels::Memory* memory) {
    const auto count = static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
    if (memory_.size() < count) {
      memory_ = {};
      memory_ = kernels::AlignedBuffer<float>(count, memory);
    }
    return {memory_.data(), rows, cols};
  }
  void release() { memory_ = {}; }

 private:
  kernels::AlignedBuffer<float> memory_;
};

}  // namespace quench::worker
