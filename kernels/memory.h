// Where memory that a backend computes on lives. On the CPU there is one memory and no Memory object (nullptr). A
// GPU backend hands out *windows*: host addresses, each backed by memory of the device, which is where the truth
// is once a backend's call has written there. Views, strides and pointer arithmetic work on the host's
// addresses as ever; the backend translates them.
//
// Two rules for host code, both free on the CPU:
//   - before the host reads what a backend wrote:  to_host(memory, view)
//   - after the host wrote what a backend will read: to_device(memory, view)
// Memory that did not come from a window may be given to any call too: it is copied there and back each time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "kernels/tensor_view.h"

namespace quench::kernels {

class Memory : public BufferSource {
 public:
  // A range within one window; ranges outside of every window are left alone. Throw DeviceError.
  virtual void copy_to_host(const void* begin, std::size_t bytes) = 0;
  virtual void copy_to_device(const void* begin, std::size_t bytes) = 0;
  virtual void zero_device(void* begin, std::size_t bytes) = 0;
  // From one window to another.
  virtual void copy_on_device(void* to, const void* from, std::size_t bytes) = 0;
};

template <typename T>
void to_host(Memory* memory, std::span<T> values) {
  if (memory != nullptr) memory->copy_to_host(values.data(), values.size_bytes());
}
template <typename T>
void to_device(Memory* memory, std::span<T> values) {
  if (memory != nullptr) memory->copy_to_device(values.data(), values.size_bytes());
}
// To a place in memory of the same kind.
template <typename T>
void copy_elements(Memory* memory, std::span<const T> from, T* to) {
  if (memory != nullptr)
    memory->copy_on_device(to, from.data(), from.size_bytes());
  else
    std::copy(from.begin(), from.end(), to);
}
inline std::span<const float> extent_of(ConstMatrixView view) {
  if (view.rows == 0) return {};
  return {view.data, static_cast<std::size_t>((view.rows - 1) * view.stride + view.cols)};
}
inline void to_host(Memory* memory, ConstMatrixView view) { to_host(memory, extent_of(view)); }
inline void to_device(Memory* memory, ConstMatrixView view) { to_device(memory, extent_of(view)); }

}  // namespace quench::kernels
