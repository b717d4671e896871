#include "kernels/cuda/device_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace quench::kernels::cuda {
namespace {

constexpr std::size_t kArenaBytesMin = std::size_t{16} << 20;
constexpr std::size_t kAlignment = 256;
constexpr std::size_t kPinnedBytesMin = std::size_t{64} << 20;

std::size_t rounded_up(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

DeviceMemory::~DeviceMemory() {
  for (const auto& [host, window] : windows_) {
    if (window.pinned) device_.unpin(reinterpret_cast<void*>(host));
    ::munmap(reinterpret_cast<void*>(host), window.bytes);
    device_.release(window.device);
  }
}

void* DeviceMemory::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  void* device = device_.allocate(bytes);
  void* host = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (host == MAP_FAILED) {
    device_.release(device);
    throw std::bad_alloc();
  }
  windows_.emplace(reinterpret_cast<std::uintptr_t>(host), Window{bytes, device, false, 0});
  return host;
}

void DeviceMemory::release(void* window) noexcept {
  const auto found = windows_.find(reinterpret_cast<std::uintptr_t>(window));
  if (found == windows_.end()) return;
  ++version_;
  if (found->second.pinned) device_.unpin(window);
  device_.release(found->second.device);
  ::munmap(window, found->second.bytes);
  windows_.erase(found);
}

std::map<std::uintptr_t, DeviceMemory::Window>::const_iterator DeviceMemory::find(const void* begin) const noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  auto after = windows_.upper_bound(address);
  if (after == windows_.begin()) return windows_.end();
  --after;
  return address < after->first + after->second.bytes ? after : windows_.end();
}

void* DeviceMemory::device_address(const void* host) const noexcept {
  const auto found = find(host);
  if (found == windows_.end()) return nullptr;
  return static_cast<char*>(found->second.device) + (reinterpret_cast<std::uintptr_t>(host) - found->first);
}

void DeviceMemory::copy_to_host(const void* begin, std::size_t bytes) {
  const auto found = bytes == 0 ? windows_.end() : find(begin);
  if (found == windows_.end()) return;
  Window& window = windows_[found->first];
  if (!window.pinned && window.bytes >= kPinnedBytesMin) {
    window.copied += bytes;
    if (window.copied > window.bytes) {
      window.pinned = device_.pin(reinterpret_cast<void*>(found->first), window.bytes);
      window.copied = 0;
    }
  }
  void* device = device_address(begin);
  device_.copy_out(const_cast<void*>(begin), bytes, device, bytes, bytes, 1);
}

void DeviceMemory::copy_to_device(const void* begin, std::size_t bytes) {
  void* device = bytes == 0 ? nullptr : device_address(begin);
  if (device == nullptr) return;
  ++version_;
  device_.copy_in(device, bytes, begin, bytes, bytes, 1);
}

void DeviceMemory::zero_device(void* begin, std::size_t bytes) {
  void* device = bytes == 0 ? nullptr : device_address(begin);
  if (device != nullptr) device_.set_zero(device, bytes);
}

void DeviceMemory::copy_on_device(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  ++version_;
  device_.copy_within(device_address(to), device_address(from), bytes);
}

Arena::~Arena() {
  for (const Piece& piece : pieces_) device_.release(piece.memory);
}

void* Arena::take(std::size_t bytes) {
  bytes = rounded_up(std::max<std::size_t>(bytes, 1));
  if (pieces_.empty() || pieces_.back().bytes - used_ < bytes) {
    const std::size_t piece = std::max(bytes, kArenaBytesMin);
    pieces_.push_back({device_.allocate(piece), piece});
    used_ = 0;
  }
  void* memory = static_cast<char*>(pieces_.back().memory) + used_;
  used_ += bytes;
  return memory;
}

// Several pieces become one as large as all of them, so that a steady load soon runs in one.
void Arena::reset() {
  used_ = 0;
  if (pieces_.size() < 2) return;
  std::size_t total = 0;
  device_.wait();
  for (const Piece& piece : pieces_) {
    total += piece.bytes;
    device_.release(piece.memory);
  }
  pieces_.clear();
  pieces_.push_back({device_.allocate(total), total});
}

ConstMatrixView OperandCall::in(ConstMatrixView host) {
  if (host.rows == 0 || host.cols == 0) return {nullptr, host.rows, host.cols};
  if (void* address = memory_.device_address(host.data))
    return {static_cast<const float*>(address), host.rows, host.cols, host.stride};
  const std::size_t row_bytes = static_cast<std::size_t>(host.cols) * sizeof(float);
  void* staged = arena_.take(row_bytes * static_cast<std::size_t>(host.rows));
  device_.copy_in(staged, row_bytes, host.data, static_cast<std::size_t>(host.stride) * sizeof(float), row_bytes,
                  static_cast<std::size_t>(host.rows));
  return {static_cast<const float*>(staged), host.rows, host.cols};
}

MatrixView OperandCall::out(MatrixView host, Before before) {
  if (host.rows == 0 || host.cols == 0) return {nullptr, host.rows, host.cols};
  if (void* address = memory_.device_address(host.data))
    return {static_cast<float*>(address), host.rows, host.cols, host.stride};
  const std::size_t row_bytes = static_cast<std::size_t>(host.cols) * sizeof(float);
  const std::size_t stride = static_cast<std::size_t>(host.stride) * sizeof(float);
  const auto rows = static_cast<std::size_t>(host.rows);
  void* staged = arena_.take(row_bytes * rows);
  if (before == Before::keep) device_.copy_in(staged, row_bytes, host.data, stride, row_bytes, rows);
  back_.push_back({host.data, stride, staged, row_bytes, row_bytes, rows});
  return {static_cast<float*>(staged), host.rows, host.cols};
}

void OperandCall::finish() {
  for (const Back& b : back_) device_.copy_out(b.host, b.host_stride, b.device, b.device_stride, b.row_bytes, b.rows);
  back_.clear();
}

}  // namespace quench::kernels::cuda
