// A device that cannot go on: no GPU, no memory, a failed launch. CPU backends never throw it.
#pragma once

#include <stdexcept>
#include <string>

namespace quench::kernels {

class DeviceError : public std::runtime_error {
 public:
  explicit DeviceError(const std::string& text) : std::runtime_error(text) {}
};

// Too little memory on the device; the text has the bytes wanted and the bytes free, and what to do.
class DeviceMemoryError : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

}  // namespace quench::kernels
