// Views of memory that kernels compute on. A view owns nothing, is passed by value and stays valid
// as long as its owner does. Rows are `stride` elements apart, elements of a row lie side by side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>

#include "kernels/formats.h"

namespace quench::kernels {

template <typename T>
struct MatrixViewOf {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t stride = 0;  // in elements, at least cols

  MatrixViewOf() = default;
  constexpr MatrixViewOf(T* first, std::int64_t row_count, std::int64_t col_count)
      : data(first), rows(row_count), cols(col_count), stride(col_count) {}
  constexpr MatrixViewOf(T* first, std::int64_t row_count, std::int64_t col_count, std::int64_t row_stride)
      : data(first), rows(row_count), cols(col_count), stride(row_stride) {}

  T* row(std::int64_t index) const { return data + index * stride; }
  // Rows [begin, begin + count).
  MatrixViewOf row_range(std::int64_t begin, std::int64_t count) const {
    return MatrixViewOf(row(begin), count, cols, stride);
  }
  // Columns [begin, begin + count).
  MatrixViewOf col_range(std::int64_t begin, std::int64_t count) const {
    return MatrixViewOf(data + begin, rows, count, stride);
  }
  operator MatrixViewOf<const T>() const { return {data, rows, cols, stride}; }
};

using MatrixView = MatrixViewOf<float>;
using ConstMatrixView = MatrixViewOf<const float>;

inline std::size_t element_bytes(ElementType type) { return type == ElementType::f32 ? 4 : 2; }

// Memory that is not the host's own (memory.h).
class BufferSource {
 public:
  virtual ~BufferSource() = default;
  // 64-byte aligned at least, contents unset. Throws.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
};

// An owner of uninitialised memory on a cache line (64 bytes), movable, never copied. T is a
// plain number. With a `source`, which must outlive it, the memory comes from there. Throws std::bad_alloc, or as the
// source does.
template <typename T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t count, BufferSource* source = nullptr)
      : data_(nullptr, Free{source}), count_(count) {
    if (count == 0) return;
    const std::size_t bytes = (count * sizeof(T) + 63) / 64 * 64;
    void* memory = source != nullptr ? source->allocate(bytes) : std::aligned_alloc(64, bytes);
    if (memory == nullptr) throw std::bad_alloc();
    data_.reset(static_cast<T*>(memory));
  }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::size_t size() const { return count_; }
  T& operator[](std::size_t index) { return data_.get()[index]; }
  const T& operator[](std::size_t index) const { return data_.get()[index]; }

 private:
  struct Free {
    BufferSource* source = nullptr;
    void operator()(T* memory) const {
      if (source != nullptr)
        source->release(memory);
      else
        std::free(memory);
    }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t count_ = 0;
};

[[noreturn]] inline void kernel_check_failed(const char* expression, const char* file, int line, long long a,
                                             long long b) {
  std::fprintf(stderr, "%s:%d: kernel shape invariant broken: %s [%lld, %lld]\n", file, line, expression, a,
               b);
  std::abort();
}

}  // namespace quench::kernels

// Equality of two shapes; a difference is a bug of the caller, so it prints both and aborts.
#define QUENCH_KERNEL_CHECK_EQ(a, b)                                                                      \
  do {                                                                                                    \
    if ((a) != (b)) [[unlikely]]                                                                          \
      ::quench::kernels::kernel_check_failed(#a " == " #b, __FILE__, __LINE__, static_cast<long long>(a), \
                                             static_cast<long long>(b));                                  \
  } while (false)
#define QUENCH_KERNEL_CHECK_LE(a, b)                                                                      \
  do {                                                                                                    \
    if ((a) > (b)) [[unlikely]]                                                                           \
      ::quench::kernels::kernel_check_failed(#a " <= " #b, __FILE__, __LINE__, static_cast<long long>(a), \
                                             static_cast<long long>(b));                                  \
  } while (false)
