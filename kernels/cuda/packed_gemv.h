// y = x Wᵀ for up to eight rows of x: decoding is bound by reading W once, so codes go from memory to registers.
//
// GemvChains: one thread is one output and one chain over k, the CPU's bits; it cannot keep enough loads
// under way to fill the memory's bandwidth.
// GemvSlices: sixteen threads share an output: slice s takes lines s, s + 16, …, in each a chain of x * (code - zero),
// which is scaled and added to the slice's sum; the sixteen sums are joined in a fixed tree. The order depends on K and
// the group size alone, so a row has the same bits in any batch of 1 to 8.
#pragma once

#include "kernels/cuda/device_weights.h"
#include "kernels/cuda/tile_product.h"
#include "kernels/tensor_view.h"

namespace quench::kernels::cuda {

inline constexpr int kGemvRowsMax = 8;

// Grid: x blocks of 128 outputs.
struct GemvChains {
  static constexpr int kThreads = 128;
  static constexpr int kDepth = 128;
  struct Shared {
    float x[kGemvRowsMax][kDepth];
  };
  ConstMatrixView x;
  WeightView weight;
  MatrixView y;

  struct Sums {
    float v[kGemvRowsMax];
  };

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    typename Group::template Local<Sums> sums(group);
    group.each([&](int thread) { sums[thread] = {}; });
    for (std::int64_t k = 0; k < weight.cols; k += kDepth) {
      const int count = weight.cols - k < kDepth ? static_cast<int>(weight.cols - k) : kDepth;
      group.each([&](int thread) {
        for (int element = thread; element < x.rows * kDepth; element += kThreads) {
          const int row = element / kDepth, step = element % kDepth;
          if (step < count) shared.x[row][step] = x.data[row * x.stride + k + step];
        }
      });
      group.each([&](int thread) {
        const std::int64_t col = group.x() * kThreads + thread;
        if (col >= weight.rows) return;
        for (int step = 0; step < count; ++step) {
          const float w = load_weight(weight, col / 16, static_cast<int>(col % 16), k + step);
          QUENCH_UNROLL
          for (int row = 0; row < kGemvRowsMax; ++row) {
            if (row < x.rows) sums[thread].v[row] = fused(shared.x[row][step], w, sums[thread].v[row]);
          }
        }
      });
    }
    group.each([&](int thread) {
      const std::int64_t col = group.x() * kThreads + thread;
      if (col >= weight.rows) return;
      QUENCH_UNROLL
      for (int row = 0; row < kGemvRowsMax; ++row) {
        if (row < x.rows) y.data[row * y.stride + col] = sums[thread].v[row];
      }
    });
  }
};

// Bits 8, 4, 3, 2, or 0 for dense formats. Grid: x panels. Groups are whole lines, or there is one (the backend sees
// to that).
template <int Bits, int Rows>
struct GemvSlices {
  static constexpr int kThreads = 256;
  static constexpr int kSlices = 16;
  struct Shared {
    float sums[Rows][kSlices][16];
  };
  ConstMatrixView x;
  WeightView weight;
  MatrixView y;
  bool aligned = false;  // rows of x begin on 16 bytes

  struct Sums {
    float v[Rows];
  };

  // Rows that are not there repeat the first and are not stored.
  QUENCH_DEVICE const float* x_row(int row) const { return x.data + (row < x.rows ? row * x.stride : 0); }

  QUENCH_DEVICE void packed_lines(int slice, int lane, std::int64_t panel, Sums& sums) const {
    constexpr int per = PackedLine<Bits>::kColumns, words = PackedLine<Bits>::kWords;
    const std::uint32_t* base = static_cast<const std::uint32_t*>(weight.panels) + panel * panel_words<Bits>(weight.cols);
    const std::int64_t lines = (weight.cols + per - 1) / per;
    // Four lines under way before the first is used.
    QUENCH_UNROLL
    for (int row = 0; row < Rows; ++row) sums.v[row] = 0.0f;
    for (std::int64_t first = slice; first < lines; first += 4 * kSlices) {
      LineWords<Bits> line[4];
      std::uint16_t scale[4];
      std::uint8_t zero[4];
      QUENCH_UNROLL
      for (int i = 0; i < 4; ++i) {
        const std::int64_t index = first + i * kSlices;
        if (index >= lines) continue;
        line[i] = load_line<Bits>(base + index * words, lane);
        const std::int64_t at = grid_index(weight, panel, lane, index * per);
        scale[i] = weight.scales[at];
        zero[i] = weight.zeros[at];
      }
      QUENCH_UNROLL
      for (int i = 0; i < 4; ++i) {
        const std::int64_t index = first + i * kSlices;
        if (index >= lines) continue;
        const std::int64_t k = index * per;
        const int count = weight.cols - k < per ? static_cast<int>(weight.cols - k) : per;
        // code | 2^23's bits is the float 2^23 + code, from which 2^23 + zero is taken exactly.
        const float magic_zero = 8388608.0f + static_cast<float>(zero[i]);
        float dot[Rows] = {};
        if (aligned && count == per) {
          QUENCH_UNROLL
          for (int j = 0; j < per; j += 4) {
            QUENCH_UNROLL
            for (int row = 0; row < Rows; ++row) {
              const FourFloats four = load_four(x_row(row) + k + j);
              QUENCH_UNROLL
              for (int c = 0; c < 4; ++c) {
                const float level = float_of(code_of<Bits>(line[i], j + c) | 0x4b000000u) - magic_zero;
                dot[row] = fused(four.v[c], level, dot[row]);
              }
            }
          }
        } else {
          for (int j = 0; j < count; ++j) {
            const float level = float_of(code_of<Bits>(line[i], j) | 0x4b000000u) - magic_zero;
            QUENCH_UNROLL
            for (int row = 0; row < Rows; ++row) dot[row] = fused(x_row(row)[k + j], level, dot[row]);
          }
        }
        const float factor = half_to_float(scale[i]);
        QUENCH_UNROLL
        for (int row = 0; row < Rows; ++row) sums.v[row] = fused(dot[row], factor, sums.v[row]);
      }
    }
  }

  QUENCH_DEVICE void dense_lines(int slice, int lane, std::int64_t panel, Sums& sums) const {
    QUENCH_UNROLL
    for (int row = 0; row < Rows; ++row) sums.v[row] = 0.0f;
    for (std::int64_t first = slice; first < weight.cols; first += 8 * kSlices) {
      float w[8];
      QUENCH_UNROLL
      for (int i = 0; i < 8; ++i) {
        const std::int64_t k = first + i * kSlices;
        w[i] = k < weight.cols ? load_weight(weight, panel, lane, k) : 0.0f;
      }
      QUENCH_UNROLL
      for (int i = 0; i < 8; ++i) {
        const std::int64_t k = first + i * kSlices;
        if (k >= weight.cols) break;
        QUENCH_UNROLL
        for (int row = 0; row < Rows; ++row) sums.v[row] = fused(x_row(row)[k], w[i], sums.v[row]);
      }
    }
  }

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const std::int64_t panel = group.x();
    group.each([&](int thread) {
      const int slice = thread / 16, lane = thread % 16;
      Sums sums;
      if constexpr (Bits == 0)
        dense_lines(slice, lane, panel, sums);
      else
        packed_lines(slice, lane, panel, sums);
      QUENCH_UNROLL
      for (int row = 0; row < Rows; ++row) shared.sums[row][slice][lane] = sums.v[row];
    });
    group.each([&](int thread) {
      const int row = thread / 16, lane = thread % 16;
      const std::int64_t col = panel * 16 + lane;
      if (row >= Rows || row >= x.rows || col >= weight.rows) return;
      float partial[kSlices];
      for (int slice = 0; slice < kSlices; ++slice) partial[slice] = shared.sums[row][slice][lane];
      y.data[row * y.stride + col] = sum_sixteen(partial);
    });
  }
};

using GemvSlicesDense1 = GemvSlices<0, 1>;
using GemvSlicesDense8 = GemvSlices<0, 8>;
using GemvSlicesQ8x1 = GemvSlices<8, 1>;
using GemvSlicesQ8x8 = GemvSlices<8, 8>;
using GemvSlicesQ4x1 = GemvSlices<4, 1>;
using GemvSlicesQ4x8 = GemvSlices<4, 8>;
using GemvSlicesQ3x1 = GemvSlices<3, 1>;
using GemvSlicesQ3x8 = GemvSlices<3, 8>;
using GemvSlicesQ2x1 = GemvSlices<2, 1>;
using GemvSlicesQ2x8 = GemvSlices<2, 8>;

}  // namespace quench::kernels::cuda
