// The two kinds of memory a call's operands can be in: windows (kernels/memory.h), which have their place on the device, and
// plain host memory, which an OperandCall copies there and, what was written, back.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/memory.h"

namespace quench::kernels::cuda {

// One thread at a time, as the backend.
class DeviceMemory final : public Memory {
 public:
  explicit DeviceMemory(Device& device) : device_(device) {}
  ~DeviceMemory() override;
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  // The host's side is address space whose pages exist once they are touched. It is pinned when as much as all of a large
  // window has been fetched: what is fetched once is fetched after each block.
  void* allocate(std::size_t bytes) override;
  void release(void* window) noexcept override;
  void copy_to_host(const void* begin, std::size_t bytes) override;
  void copy_to_device(const void* begin, std::size_t bytes) override;
  void zero_device(void* begin, std::size_t bytes) override;
  void copy_on_device(void* to, const void* from, std::size_t bytes) override;

  // The device's address of a host address within a window, nullptr outside of all windows.
  void* device_address(const void* host) const noexcept;
  // Grows whenever windows change on the host or vanish: what was derived from their contents is stale.
  std::uint64_t version() const noexcept { return version_; }

 private:
  struct Window {
    std::size_t bytes = 0;
    void* device = nullptr;
    bool pinned = false;
    std::size_t copied = 0;  // bytes fetched so far, until it is pinned
  };
  // The window that [begin, begin + bytes) lies in whole; end() when its start is in none.
  std::map<std::uintptr_t, Window>::const_iterator find(const void* begin) const noexcept;

  Device& device_;
  std::map<std::uintptr_t, Window> windows_;  // by host address
  std::uint64_t version_ = 0;
};

// Device memory for the time of a call, handed out piece by piece; kept for the next call.
class Arena {
 public:
  explicit Arena(Device& device) : device_(device) {}
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  void* take(std::size_t bytes);
  // Everything taken may be handed out again: later work runs after earlier work, in one stream.
  void reset();

 private:
  struct Piece {
    void* memory = nullptr;
    std::size_t bytes = 0;
  };
  Device& device_;
  std::vector<Piece> pieces_;
  std::size_t used_ = 0;  // of the last piece
};

// The operands of one call of the backend. finish() brings back what plain host memory is to get.
class OperandCall {
 public:
  OperandCall(Device& device, DeviceMemory& memory, Arena& arena) : device_(device), memory_(memory), arena_(arena) {
    arena_.reset();
  }

  template <typename T>
  const T* in(const T* host, std::int64_t count) {
    if (host == nullptr || count == 0) return nullptr;
    if (void* address = memory_.device_address(host)) return static_cast<const T*>(address);
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    void* staged = arena_.take(bytes);
    device_.copy_in(staged, bytes, host, bytes, bytes, 1);
    return static_cast<const T*>(staged);
  }
  template <typename T>
  T* in(std::span<T> host) {
    return const_cast<T*>(in(host.data(), static_cast<std::int64_t>(host.size())));
  }
  ConstMatrixView in(ConstMatrixView host);
  // `keep`: what is not written stays as it is.
  enum class Before { unset, keep };
  MatrixView out(MatrixView host, Before before);
  template <typename T>
  T* out(T* host, std::int64_t count, Before before) {
    if (host == nullptr || count == 0) return nullptr;
    if (void* address = memory_.device_address(host)) return static_cast<T*>(address);
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    void* staged = arena_.take(bytes);
    if (before == Before::keep) device_.copy_in(staged, bytes, host, bytes, bytes, 1);
    back_.push_back({host, bytes, staged, bytes, bytes, 1});
    return static_cast<T*>(staged);
  }
  template <typename T>
  T* scratch(std::int64_t count) {
    return static_cast<T*>(arena_.take(static_cast<std::size_t>(count) * sizeof(T)));
  }
  void finish();

 private:
  struct Back {
    void* host;
    std::size_t host_stride;
    const void* device;
    std::size_t device_stride;
    std::size_t row_bytes;
    std::size_t rows;
  };
  Device& device_;
  DeviceMemory& memory_;
  Arena& arena_;
  std::vector<Back> back_;
};

}  // namespace quench::kernels::cuda
