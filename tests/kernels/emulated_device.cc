#include "tests/kernels/emulated_device.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <type_traits>
#include <vector>

namespace quench::kernels {
namespace {

using cuda::Grid;

class EmulatedGroup {
 public:
  EmulatedGroup(Grid block, int threads, ThreadOrder order) : block_(block), threads_(threads), order_(order) {}
  std::int64_t x() const { return block_.x; }
  std::int64_t y() const { return block_.y; }
  std::int64_t z() const { return block_.z; }

  template <typename Phase>
  void each(const Phase& phase) {
    if (order_ == ThreadOrder::forwards)
      for (int thread = 0; thread < threads_; ++thread) phase(thread);
    else
      for (int thread = threads_ - 1; thread >= 0; --thread) phase(thread);
  }
  template <typename T>
  class Local {
   public:
    explicit Local(const EmulatedGroup& group) : values_(static_cast<std::size_t>(group.threads_)) {}
    T& operator[](int thread) { return values_[static_cast<std::size_t>(thread)]; }

   private:
    std::vector<T> values_;
  };
  void atomic_max(std::int32_t* at, std::int32_t value) {
    if (value > *at) *at = value;
  }

 private:
  Grid block_;
  int threads_;
  ThreadOrder order_;
};

class EmulatedDevice final : public cuda::Device {
 public:
  explicit EmulatedDevice(const EmulatedOptions& options) : options_(options) {}
  ~EmulatedDevice() override {
    // The backend owns all of it and gives it back.
    if (!memory_.empty()) kernel_check_failed("no device memory is leaked", __FILE__, __LINE__, static_cast<long long>(memory_.size()), 0);
    if (pinned_ != 0) kernel_check_failed("no host memory stays pinned", __FILE__, __LINE__, pinned_, 0);
  }
  std::string description() const override { return "emulated"; }

  void* allocate(std::size_t bytes) override {
    if (used_ + bytes > options_.bytes_max)
      throw DeviceMemoryError("emulated device: " + std::to_string(bytes) + " bytes are wanted, " +
                              std::to_string(options_.bytes_max - used_) + " are free");
    void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(memory, 0xff, (bytes + 255) / 256 * 256);
    memory_[memory] = bytes;
    used_ += bytes;
    return memory;
  }
  void release(void* memory) noexcept override {
    if (memory == nullptr) return;
    used_ -= memory_.at(memory);
    memory_.erase(memory);
    std::free(memory);
  }
  std::size_t free_bytes() override { return options_.bytes_max - used_; }

  void copy_in(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, std::size_t row_bytes,
               std::size_t rows) override {
    check(to, (rows - 1) * to_stride + row_bytes);
    copy(to, to_stride, from, from_stride, row_bytes, rows);
  }
  void copy_out(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, std::size_t row_bytes,
                std::size_t rows) override {
    check(from, (rows - 1) * from_stride + row_bytes);
    copy(to, to_stride, from, from_stride, row_bytes, rows);
  }
  void copy_within(void* to, const void* from, std::size_t bytes) override {
    check(to, bytes);
    check(from, bytes);
    std::memcpy(to, from, bytes);
  }
  bool pin(void*, std::size_t) noexcept override { return ++pinned_ > 0; }
  void unpin(void*) noexcept override { --pinned_; }
  void set_zero(void* memory, std::size_t bytes) override {
    check(memory, bytes);
    std::memset(memory, 0, bytes);
  }
  void wait() override {}

  // The product in double: cuBLAS agrees with it within tolerances.h, and so does the test that uses this.
  void multiply_tf32(ConstMatrixView x, ConstMatrixView w, MatrixView y) override {
    for (std::int64_t m = 0; m < x.rows; ++m) {
      for (std::int64_t n = 0; n < w.rows; ++n) {
        double sum = 0;
        for (std::int64_t k = 0; k < x.cols; ++k) sum += static_cast<double>(x.row(m)[k]) * w.row(n)[k];
        y.row(m)[n] = static_cast<float>(sum);
      }
    }
  }
  void multiply_brain(const std::uint16_t* left, const std::uint16_t* right, std::int64_t pitch, std::int64_t depth,
                      MatrixView out) override {
    for (std::int64_t i = 0; i < out.rows; ++i) {
      for (std::int64_t j = 0; j < out.cols; ++j) {
        double sum = 0;
        for (std::int64_t k = 0; k < depth; ++k)
          sum += static_cast<double>(bf16_to_f32(left[k * pitch + i])) * bf16_to_f32(right[k * pitch + j]);
        out.row(i)[j] = static_cast<float>(sum);
      }
    }
  }

#define QUENCH_LAUNCH(Kernel) \
  void launch(const cuda::Kernel& kernel, Grid grid) override { run(kernel, grid); }
  QUENCH_DEVICE_KERNELS(QUENCH_LAUNCH)
#undef QUENCH_LAUNCH

 private:
  template <typename Kernel>
  void run(const Kernel& kernel, Grid grid) {
    static_assert(std::is_trivially_copyable_v<Kernel> && sizeof(Kernel) <= 4096, "travels as a launch's argument");
    static_assert(sizeof(typename Kernel::Shared) <= 48 << 10, "what a block may share without asking");
    if (grid.x < 1 || grid.x > 0x7fffffff || grid.y < 1 || grid.y > 65535 || grid.z < 1 || grid.z > 65535)
      kernel_check_failed("a grid the GPU takes", __FILE__, __LINE__, grid.x, grid.y);
    const auto shared = std::make_unique<typename Kernel::Shared>();
    for (std::int64_t z = 0; z < grid.z; ++z) {
      for (std::int64_t y = 0; y < grid.y; ++y) {
        for (std::int64_t x = 0; x < grid.x; ++x) {
          // Shared memory begins with whatever the block before left; here it is always the same garbage.
          std::memset(static_cast<void*>(shared.get()), 0xff, sizeof(typename Kernel::Shared));
          EmulatedGroup group({x, y, z}, Kernel::kThreads, options_.order);
          kernel(group, *shared);
        }
      }
    }
  }
  static void copy(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, std::size_t row_bytes,
                   std::size_t rows) {
    for (std::size_t row = 0; row < rows; ++row)
      std::memcpy(static_cast<char*>(to) + row * to_stride, static_cast<const char*>(from) + row * from_stride,
                  row_bytes);
  }
  void check(const void* begin, std::size_t bytes) const {
    auto after = memory_.upper_bound(const_cast<void*>(begin));
    if (after != memory_.begin()) {
      --after;
      const auto* end = static_cast<const char*>(after->first) + after->second;
      if (static_cast<const char*>(begin) + bytes <= end) return;
    }
    kernel_check_failed("device memory", __FILE__, __LINE__, static_cast<long long>(bytes), 0);
  }

  EmulatedOptions options_;
  std::map<void*, std::size_t> memory_;
  std::size_t used_ = 0;
  int pinned_ = 0;
};

}  // namespace

std::unique_ptr<cuda::Device> make_emulated_device(const EmulatedOptions& options) {
  return std::make_unique<EmulatedDevice>(options);
}
std::unique_ptr<Backend> make_emulated_backend(cuda::Arithmetic arithmetic, const EmulatedOptions& options) {
  return std::make_unique<cuda::CudaBackend>(make_emulated_device(options), arithmetic);
}

}  // namespace quench::kernels
