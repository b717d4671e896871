// y = x Wᵀ for up to eight rows of x: decoding is bound by reading W once, so codes go from memory to registers.
//
// GemvChains: one thread is one output and one chain over k, the CPU's bits; it cannot keep enough loads
// under way to fill the memory's bandwidth.
// GemvSlices: a run is 32 columns of a panel of 16 outputs, which have one scale each. Four threads, each with four
// outputs, share a run; slice s takes runs s, s + 64, …, in each a chain of x * (code - zero), which is scaled and added
// to the slice's sum; the sums of slices are joined in a fixed tree. The order depends on K alone, so a row has the same
// bits in any batch of 1 to 8. Dense weights of 16 bits: eight outputs a thread, 128 slices of single columns.
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

// Words of four outputs side by side.
struct alignas(16) FourWords {
  std::uint32_t v[4];
};
QUENCH_DEVICE FourWords load_words(const std::uint32_t* from) { return *reinterpret_cast<const FourWords*>(from); }

struct alignas(8) FourHalves {
  std::uint16_t v[4];
};
struct alignas(4) FourBytes {
  std::uint8_t v[4];
};

// Codes as floats without moving them: with the bits of 2^(23 - s) above it, a code s bits up in a word is the float
// 2^(23 - s) + code. That holds while the code ends below bit 23, so a word is moved down every kPlaces codes.
template <int Bits>
struct CodePlaces {
  static constexpr int kPlaces = Bits == 3 ? 1 : Bits == 8 ? 2 : 4;

  // 2^(23 - s) for the place of column `column` of a line.
  QUENCH_DEVICE static float base(int column) {
    return float_of((150u - static_cast<std::uint32_t>(column % kPlaces * Bits)) << 23);
  }
  // That and the code.
  QUENCH_DEVICE static float above(const LineWords<Bits>& words, int column) {
    const auto bits = (150u - static_cast<std::uint32_t>(column % kPlaces * Bits)) << 23;
    if constexpr (Bits == 3) {
      return float_of(code_of<3>(words, column) | bits);
    } else {
      constexpr std::uint32_t mask = (1u << Bits) - 1u;
      return float_of((words.word[0] >> (column / kPlaces * kPlaces * Bits) & mask << (column % kPlaces * Bits)) | bits);
    }
  }
};

// Bits 8, 4, 3, 2, or 0 for dense formats of 16 bits. Grid: x panels. A group is one, or whole runs (the backend sees
// to that).
template <int Bits, int Rows>
struct GemvSlices {
  static constexpr int kThreads = 256;
  static constexpr int kBlocks = Rows > 1 ? (Bits == 3 ? 1 : 2) : Bits == 8 || Bits == 4 ? 3 : 4;
  static constexpr int kRun = 32;                           // columns
  static constexpr int kOutputs = Bits == 0 ? 8 : 4;        // of a thread
  static constexpr int kSlices = kThreads * kOutputs / 16;  // 128 or 64
  struct Shared {
    float sums[kSlices][Rows < 4 ? Rows : 4][16];
  };
  ConstMatrixView x;
  WeightView weight;
  MatrixView y;
  bool aligned = false;  // rows of x begin on 16 bytes

  struct Sums {
    float v[Rows][kOutputs];
  };

  // Rows that are not there repeat the first and are not stored.
  QUENCH_DEVICE const float* x_row(int row) const { return x.data + (row < x.rows ? row * x.stride : 0); }
  // Columns k .. k + 3 of a row, 0 beyond the last.
  QUENCH_DEVICE FourFloats x_four(int row, std::int64_t k) const {
    if (aligned && k + 4 <= weight.cols) return load_four(x_row(row) + k);
    FourFloats four;
    QUENCH_UNROLL
    for (int c = 0; c < 4; ++c) four.v[c] = k + c < weight.cols ? x_row(row)[k + c] : 0.0f;
    return four;
  }

  struct Line {
    FourWords part[Bits == 3 ? 3 : 1];
  };
  QUENCH_DEVICE static Line load_part(const std::uint32_t* base, std::int64_t line, std::int64_t line_count, int output) {
    Line loaded = {};
    QUENCH_UNROLL
    for (int part = 0; part < (Bits == 3 ? 3 : 1); ++part)
      if (line < line_count) loaded.part[part] = load_words(base + (line * (Bits == 3 ? 3 : 1) + part) * 16 + output);
    return loaded;
  }

  struct Dots {
    float v[Rows][4];
  };
  // Goes on with the chains of columns k0 .. , a line's.
  QUENCH_DEVICE void multiply_line(const Line& loaded, std::int64_t k0, const float (*zero)[CodePlaces<Bits>::kPlaces],
                                   Dots& dots) const {
    QUENCH_UNROLL
    for (int j = 0; j < PackedLine<Bits>::kColumns; j += 4) {
      float level[4][4];
      QUENCH_UNROLL
      for (int o = 0; o < 4; ++o) {
        LineWords<Bits> line;
        QUENCH_UNROLL
        for (int part = 0; part < (Bits == 3 ? 3 : 1); ++part) line.word[part] = loaded.part[part].v[o];
        QUENCH_UNROLL
        for (int c = 0; c < 4; ++c) level[c][o] = CodePlaces<Bits>::above(line, j + c) - zero[o][(j + c) % CodePlaces<Bits>::kPlaces];
      }
      QUENCH_UNROLL
      for (int row = 0; row < Rows; ++row) {
        const FourFloats four = x_four(row, k0 + j);
        QUENCH_UNROLL
        for (int c = 0; c < 4; ++c) {
          QUENCH_UNROLL
          for (int o = 0; o < 4; ++o) dots.v[row][o] = fused(four.v[c], level[c][o], dots.v[row][o]);
        }
      }
    }
  }

  QUENCH_DEVICE void packed_runs(int slice, int output, std::int64_t panel, Sums& sums) const {
    constexpr int per = PackedLine<Bits>::kColumns, lines = kRun / per;
    const std::uint32_t* base = static_cast<const std::uint32_t*>(weight.panels) + panel * panel_words<Bits>(weight.cols);
    const std::int64_t line_count = (weight.cols + per - 1) / per;
    const auto columns = static_cast<std::uint32_t>(weight.cols);
    QUENCH_ROLLED
    for (std::uint32_t k0 = static_cast<std::uint32_t>(slice) * kRun; k0 < columns; k0 += kSlices * kRun) {
      const std::int64_t grid = grid_index(weight, panel, output, k0);
      const FourHalves scales = *reinterpret_cast<const FourHalves*>(weight.scales + grid);
      const FourBytes zeros = *reinterpret_cast<const FourBytes*>(weight.zeros + grid);
      // What is taken from a code in each place: its base and the zero, exactly.
      float factor[4], zero[4][CodePlaces<Bits>::kPlaces];
      QUENCH_UNROLL
      for (int o = 0; o < 4; ++o) {
        factor[o] = half_to_float(scales.v[o]);
        QUENCH_UNROLL
        for (int place = 0; place < CodePlaces<Bits>::kPlaces; ++place)
          zero[o][place] = CodePlaces<Bits>::base(place) + static_cast<float>(zeros.v[o]);
      }
      Dots dots = {};
      if constexpr (Rows == 1) {
        // All of a run is under way before the first line is used.
        Line loaded[lines];
        QUENCH_UNROLL
        for (int i = 0; i < lines; ++i) loaded[i] = load_part(base, k0 / per + i, line_count, output);
        QUENCH_UNROLL
        for (int i = 0; i < lines; ++i) multiply_line(loaded[i], static_cast<std::int64_t>(k0) + i * per, zero, dots);
      } else {
        // With many rows registers are short: the next line alone is under way.
        Line next = load_part(base, k0 / per, line_count, output);
        QUENCH_ROLLED
        for (int i = 0; i < lines; ++i) {
          const Line now = next;
          if (i + 1 < lines) next = load_part(base, k0 / per + i + 1, line_count, output);
          multiply_line(now, static_cast<std::int64_t>(k0) + i * per, zero, dots);
        }
      }
      QUENCH_UNROLL
      for (int row = 0; row < Rows; ++row) {
        QUENCH_UNROLL
        for (int o = 0; o < 4; ++o) sums.v[row][o] = fused(dots.v[row][o], factor[o], sums.v[row][o]);
      }
    }
  }

  QUENCH_DEVICE void dense_columns(int slice, int output, std::int64_t panel, Sums& sums) const {
    constexpr int ahead = Rows == 1 ? 8 : 2;
    const auto* base = static_cast<const std::uint16_t*>(weight.panels) + panel * weight.cols * 16 + output;
    const bool brain = weight.format == WeightFormat::bf16;
    for (std::int64_t first = slice; first < weight.cols; first += ahead * kSlices) {
      FourWords word[ahead];
      QUENCH_UNROLL
      for (int i = 0; i < ahead; ++i) {
        const std::int64_t k = first + i * kSlices;
        if (k < weight.cols) word[i] = load_words(reinterpret_cast<const std::uint32_t*>(base + k * 16));
      }
      QUENCH_UNROLL
      for (int i = 0; i < ahead; ++i) {
        const std::int64_t k = first + i * kSlices;
        if (k >= weight.cols) break;
        QUENCH_UNROLL
        for (int o = 0; o < 8; ++o) {
          const auto half = static_cast<std::uint16_t>(word[i].v[o / 2] >> (o % 2 * 16));
          const float w = brain ? brain_to_float(half) : half_to_float(half);
          QUENCH_UNROLL
          for (int row = 0; row < Rows; ++row) sums.v[row][o] = fused(x_row(row)[k], w, sums.v[row][o]);
        }
      }
    }
  }

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    constexpr int sharers = 16 / kOutputs, at_once = Rows < 4 ? Rows : 4;
    const std::int64_t panel = group.x();
    typename Group::template Local<Sums> sums(group);
    group.each([&](int thread) {
      sums[thread] = {};
      if constexpr (Bits == 0)
        dense_columns(thread / sharers, thread % sharers * kOutputs, panel, sums[thread]);
      else
        packed_runs(thread / sharers, thread % sharers * kOutputs, panel, sums[thread]);
    });
    // A few rows at a time, so that their sums fit what a block shares.
    QUENCH_UNROLL
    for (int first = 0; first < Rows; first += at_once) {
      group.each([&](int thread) {
        QUENCH_UNROLL
        for (int row = 0; row < at_once; ++row) {
          QUENCH_UNROLL
          for (int o = 0; o < kOutputs; ++o)
            shared.sums[thread / sharers][row][thread % sharers * kOutputs + o] = sums[thread].v[first + row][o];
        }
      });
      for (int width = kSlices / 2; width > 0; width /= 2) {
        group.each([&](int thread) {
          for (int element = thread; element < width * at_once * 16; element += kThreads) {
            const int slice = element / (at_once * 16), row = element / 16 % at_once, output = element % 16;
            shared.sums[slice][row][output] += shared.sums[slice + width][row][output];
          }
        });
      }
      group.each([&](int thread) {
        const int row = first + thread / 16;
        const std::int64_t output = panel * 16 + thread % 16;
        if (thread < at_once * 16 && row < x.rows && output < weight.rows)
          y.data[row * y.stride + output] = shared.sums[0][thread / 16][thread % 16];
      });
    }
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
