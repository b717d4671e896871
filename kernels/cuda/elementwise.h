// Row by row operations, bound by memory; all have the CPU's bits. Sums over a row take element i into partial sum
// i mod 16 and join the sixteen in a fixed tree: the row is staged in shared memory by all threads, and
// sixteen of them follow the chains.
#pragma once

#include "kernels/cuda/device_math.h"
#include "kernels/tensor_view.h"

namespace quench::kernels::cuda {

inline constexpr int kRowThreads = 256;
inline constexpr int kRowChunk = 2048;  // a multiple of 16

struct NoShared {};

// Grid: x rows. y may be x.
struct RmsNorm {
  static constexpr int kThreads = kRowThreads;
  struct Shared {
    float row[kRowChunk];
    float partial[16];
  };
  ConstMatrixView x;
  const float* weight = nullptr;
  float epsilon = 0;
  MatrixView y;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const float* from = x.data + group.x() * x.stride;
    float* to = y.data + group.x() * y.stride;
    group.each([&](int thread) {
      if (thread < 16) shared.partial[thread] = 0.0f;
    });
    for (std::int64_t begin = 0; begin < x.cols; begin += kRowChunk) {
      const int count = x.cols - begin < kRowChunk ? static_cast<int>(x.cols - begin) : kRowChunk;
      group.each([&](int thread) {
        for (int i = thread; i < count; i += kThreads) shared.row[i] = from[begin + i];
      });
      group.each([&](int thread) {
        if (thread >= 16) return;
        float sum = shared.partial[thread];
        for (int i = thread; i < count; i += 16) sum = fused(shared.row[i], shared.row[i], sum);
        shared.partial[thread] = sum;
      });
    }
    group.each([&](int thread) {
      const float mean = sum_sixteen(shared.partial) / static_cast<float>(x.cols);
      const float factor = 1.0f / sqrtf(mean + epsilon);
      for (std::int64_t i = thread; i < x.cols; i += kThreads) to[i] = from[i] * factor * weight[i];
    });
  }
};

// Grid: x rows. `positions` are relative to the table's first row.
struct Rope {
  static constexpr int kThreads = kRowThreads;
  using Shared = NoShared;
  MatrixView x;
  const float* cosines = nullptr;  // [positions][head_dim / 2]
  const float* sines = nullptr;
  const std::int32_t* positions = nullptr;
  std::int64_t head_dim = 0;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    group.each([&](int thread) {
      const std::int64_t half = head_dim / 2;
      const std::int64_t at = positions[group.x()] * half;
      float* row = x.data + group.x() * x.stride;
      for (std::int64_t i = thread; i < x.cols / 2; i += kThreads) {
        float* first = row + i / half * head_dim + i % half;
        float* second = first + half;
        const float a = *first, b = *second, c = cosines[at + i % half], s = sines[at + i % half];
        *first = fused(-b, s, a * c);
        *second = fused(a, s, b * c);
      }
    });
  }
};

// Grid: x blocks of columns, y rows.
struct SiluMultiply {
  static constexpr int kThreads = kRowThreads;
  using Shared = NoShared;
  ConstMatrixView gate, up;
  MatrixView out;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    group.each([&](int thread) {
      const std::int64_t col = group.x() * kThreads + thread, row = group.y();
      if (col >= out.cols) return;
      const float g = gate.data[row * gate.stride + col];
      const float denominator = 1.0f + exp_value(0.0f - g);
      out.data[row * out.stride + col] = g / denominator * up.data[row * up.stride + col];
    });
  }
};

// y += x. Grid: x blocks of columns, y rows.
struct AddRows {
  static constexpr int kThreads = kRowThreads;
  using Shared = NoShared;
  ConstMatrixView x;
  MatrixView y;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    group.each([&](int thread) {
      const std::int64_t col = group.x() * kThreads + thread, row = group.y();
      if (col < y.cols) y.data[row * y.stride + col] += x.data[row * x.stride + col];
    });
  }
};

// y[r, c] = x[r, order[c]]. Grid: x blocks of columns, y rows.
struct GatherColumns {
  static constexpr int kThreads = kRowThreads;
  using Shared = NoShared;
  ConstMatrixView x;
  const std::int32_t* order = nullptr;
  MatrixView y;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    group.each([&](int thread) {
      const std::int64_t col = group.x() * kThreads + thread, row = group.y();
      if (col < y.cols) y.data[row * y.stride + col] = x.data[row * x.stride + order[col]];
    });
  }
};

// out[i] = table[ids[i]] as fp32; ids == nullptr: table[i]. Grid: x blocks of columns, y rows.
struct Embed {
  static constexpr int kThreads = kRowThreads;
  using Shared = NoShared;
  const void* table = nullptr;
  ElementType type = ElementType::f32;
  const std::int32_t* ids = nullptr;
  MatrixView out;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    group.each([&](int thread) {
      const std::int64_t col = group.x() * kThreads + thread, row = group.y();
      if (col >= out.cols) return;
      const std::int64_t at = (ids != nullptr ? ids[row] : row) * out.cols + col;
      float value;
      if (type == ElementType::f32)
        value = static_cast<const float*>(table)[at];
      else if (type == ElementType::f16)
        value = half_to_float(static_cast<const std::uint16_t*>(table)[at]);
      else
        value = brain_to_float(static_cast<const std::uint16_t*>(table)[at]);
      out.data[row * out.stride + col] = value;
    });
  }
};

// The largest of each thread's candidates in shared memory, and which of equals came first.
template <typename Group, typename Shared>
QUENCH_DEVICE void join_largest(Group& group, Shared& shared) {
  for (int width = kRowThreads / 2; width > 0; width /= 2) {
    group.each([&](int thread) {
      if (thread >= width) return;
      const float other = shared.most[thread + width];
      const std::int64_t index = shared.index[thread + width];
      if (other > shared.most[thread] || (other == shared.most[thread] && index < shared.index[thread])) {
        shared.most[thread] = other;
        shared.index[thread] = index;
      }
    });
  }
}

// The lowest index of the largest value of each row; NaN is never the largest. Grid: x rows.
struct ArgMax {
  static constexpr int kThreads = kRowThreads;
  static constexpr std::int64_t kNone = std::int64_t{1} << 62;
  struct Shared {
    float most[kRowThreads];
    std::int64_t index[kRowThreads];
  };
  ConstMatrixView x;
  std::int32_t* out = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const float* row = x.data + group.x() * x.stride;
    group.each([&](int thread) {
      float most = -INFINITY;
      std::int64_t index = kNone;
      for (std::int64_t i = thread; i < x.cols; i += kThreads) {
        if (row[i] > most || (row[i] == most && index == kNone)) {
          most = row[i];
          index = i;
        }
      }
      shared.most[thread] = most;
      shared.index[thread] = index;
    });
    join_largest(group, shared);
    group.each([&](int thread) {
      if (thread == 0) out[group.x()] = shared.index[0] == kNone ? 0 : static_cast<std::int32_t>(shared.index[0]);
    });
  }
};

// Log-probabilities of each row; out may be x. Grid: x rows.
struct LogSoftmax {
  static constexpr int kThreads = kRowThreads;
  struct Shared {
    float most[kRowThreads];
    std::int64_t index[kRowThreads];
    float row[kRowChunk];
    float partial[16];
  };
  ConstMatrixView x;
  MatrixView out;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const float* from = x.data + group.x() * x.stride;
    float* to = out.data + group.x() * out.stride;
    group.each([&](int thread) {
      float most = -INFINITY;
      for (std::int64_t i = thread; i < x.cols; i += kThreads) most = maximum(from[i], most);
      shared.most[thread] = most;
      shared.index[thread] = thread;
      if (thread < 16) shared.partial[thread] = 0.0f;
    });
    join_largest(group, shared);
    for (std::int64_t begin = 0; begin < x.cols; begin += kRowChunk) {
      const int count = x.cols - begin < kRowChunk ? static_cast<int>(x.cols - begin) : kRowChunk;
      group.each([&](int thread) {
        for (int i = thread; i < count; i += kThreads) shared.row[i] = exp_value(from[begin + i] - shared.most[0]);
      });
      group.each([&](int thread) {
        if (thread >= 16) return;
        float sum = shared.partial[thread];
        for (int i = thread; i < count; i += 16) sum += shared.row[i];
        shared.partial[thread] = sum;
      });
    }
    group.each([&](int thread) {
      const float log_sum = static_cast<float>(log_value(static_cast<double>(sum_sixteen(shared.partial))));
      for (std::int64_t i = thread; i < x.cols; i += kThreads) to[i] = from[i] - shared.most[0] - log_sum;
    });
  }
};

// exponents[c] = max(exponents[c], exponent of max |x[., c]|). Grid: x blocks of columns, y blocks of rows.
struct ColumnExponents {
  static constexpr int kThreads = kRowThreads;
  static constexpr int kRows = 256;
  using Shared = NoShared;
  ConstMatrixView x;
  std::int32_t* exponents = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    group.each([&](int thread) {
      const std::int64_t col = group.x() * kThreads + thread, begin = group.y() * kRows;
      if (col >= x.cols) return;
      const std::int64_t end = begin + kRows < x.rows ? begin + kRows : x.rows;
      float most = 0.0f;
      for (std::int64_t row = begin; row < end; ++row)
        most = maximum(float_of(bits_of(x.data[row * x.stride + col]) & 0x7fffffffu), most);
      group.atomic_max(exponents + col, exponent_above(most));
    });
  }
};

// out[i] = stored[i] of two bytes, as fp32. Grid: x blocks of kThreads * kEach.
struct WidenHalves {
  static constexpr int kThreads = kRowThreads;
  static constexpr int kEach = 8;
  using Shared = NoShared;
  const std::uint16_t* stored = nullptr;
  bool brain = false;  // bf16, else f16
  std::int64_t count = 0;
  float* out = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    group.each([&](int thread) {
      QUENCH_UNROLL
      for (int i = 0; i < kEach; ++i) {
        const std::int64_t at = (group.x() * kEach + i) * kThreads + thread;
        if (at < count) out[at] = brain ? brain_to_float(stored[at]) : half_to_float(stored[at]);
      }
    });
  }
};

// *found becomes 1 when a value is NaN or infinite. Grid: x blocks of columns, y blocks of rows.
struct FindNonFinite {
  static constexpr int kThreads = kRowThreads;
  static constexpr int kRows = 256;
  using Shared = NoShared;
  ConstMatrixView x;
  std::int32_t* found = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    group.each([&](int thread) {
      const std::int64_t col = group.x() * kThreads + thread, begin = group.y() * kRows;
      if (col >= x.cols) return;
      const std::int64_t end = begin + kRows < x.rows ? begin + kRows : x.rows;
      bool bad = false;
      for (std::int64_t row = begin; row < end; ++row)
        bad |= (bits_of(x.data[row * x.stride + col]) & 0x7f800000u) == 0x7f800000u;
      if (bad) group.atomic_max(found, 1);
    });
  }
};

}  // namespace quench::kernels::cuda
