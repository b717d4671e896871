// Leaf sums of exact Hessians on tensor cores. Each scaled factor x 2^-e (below 1) is split into two bf16,
// x = h + l + r with |l| <= 2^-9 |x| and |r| <= 2^-18 |x|, and a product is h h' + h l' + l h', summed in fp32: what is
// left out is at most 2^-16 of Σ |x| |x'| (tolerances.h). Three products of depth T are one of depth 3 T, with the parts
// stacked as [h, h, l] on one side and [h, l, h] on the other, which is what a library's bf16 product is best at.
// The triangle is cut in strips of columns; each leaf's product of a strip is then rounded to int64 and added to the panels as
// in hessian.h, so sums over leaves stay exact and do not depend on ranks.
#pragma once

#include "kernels/cuda/hessian.h"

namespace quench::kernels::cuda {

// bf16 bits of a finite value, to nearest even.
QUENCH_DEVICE std::uint16_t brain_of(float value) {
  const std::uint32_t bits = bits_of(value);
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// How the triangle of C columns is cut: strip s has columns [s * kWidth, …) and the rows from its first column on,
// row-major, kWidth apart.
struct LeafStrips {
  static constexpr std::int64_t kWidth = 1024;
  std::int64_t columns = 0;

  constexpr std::int64_t count() const { return (columns + kWidth - 1) / kWidth; }
  constexpr std::int64_t first(std::int64_t strip) const { return strip * kWidth; }
  constexpr std::int64_t width(std::int64_t strip) const {
    return columns - first(strip) < kWidth ? columns - first(strip) : kWidth;
  }
  constexpr std::int64_t rows(std::int64_t strip) const { return columns - first(strip); }
  // Where a strip begins when they lie one after the other.
  constexpr std::int64_t offset(std::int64_t strip) const {
    return kWidth * (strip * columns - kWidth * strip * (strip - 1) / 2);
  }
  constexpr std::int64_t elements() const { return offset(count()); }
};

// The parts of one leaf: bf16 [4 T][pitch], h, h, l, h below each other.
struct SplitLeaf {
  static constexpr int kThreads = 256;
  struct Shared {};
  ConstMatrixView leaf;
  const std::int32_t* order = nullptr;      // column c is the leaf's column order[c]; null: as they are
  const std::int32_t* exponents = nullptr;  // of column c
  std::int64_t columns = 0;
  std::int64_t pitch = 0;
  std::uint16_t* parts = nullptr;

  // Grid: x blocks of columns, y tokens.
  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    group.each([&](int thread) {
      const std::int64_t column = group.x() * kThreads + thread, token = group.y();
      if (column >= columns) return;
      const std::int64_t from = order != nullptr ? order[column] : column;
      const float value = leaf.data[token * leaf.stride + from] * inverse_power(exponents[column]);
      const std::uint16_t high = brain_of(value), low = brain_of(value - brain_to_float(high));
      std::uint16_t* to = parts + token * pitch + column;
      const std::int64_t part = leaf.rows * pitch;
      to[0] = high;
      to[part] = high;
      to[2 * part] = low;
      to[3 * part] = high;
    });
  }
};

// Adds the strips of `leaves` leaves to the panels that are here, each rounded by itself. Grid: x blocks of rows, y panels.
struct AddLeafStrips {
  static constexpr int kThreads = 256;
  static constexpr int kRows = 32;
  static constexpr int kLeavesMax = 8;
  struct Shared {};
  LeafStrips strips;
  const float* values = nullptr;
  std::int64_t leaf_stride = 0;  // from one leaf's values to the next's
  int leaves = 0;
  double unit = 1.0;
  TrianglePanels layout;
  std::int64_t* const* sums = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    const std::int64_t panel = group.y();
    std::int64_t* to = sums[panel];
    if (to == nullptr) return;
    const std::int64_t first = panel * layout.width, strip = first / LeafStrips::kWidth;
    // Whole panels lie in a strip: its width is a multiple of theirs.
    const float* from = values + strips.offset(strip) + (first - strips.first(strip)) * (LeafStrips::kWidth + 1);
    const std::int64_t columns = layout.columns - first < layout.width ? layout.columns - first : layout.width;
    group.each([&](int thread) {
      const auto width = static_cast<int>(layout.width);
      const std::int64_t column = thread % width;
      if (column >= columns) return;
      for (int i = thread / width; i < kRows; i += kThreads / width) {
        const std::int64_t row = group.x() * kRows + i;
        if (row >= layout.columns - first) return;
        std::int64_t sum = to[row * width + column];
        QUENCH_UNROLL
        for (int leaf = 0; leaf < kLeavesMax; ++leaf) {
          if (leaf >= leaves) break;
          sum += nearest_integer(static_cast<double>(from[leaf * leaf_stride + row * LeafStrips::kWidth + column]) * unit);
        }
        to[row * width + column] = sum;
      }
    });
  }
};

}  // namespace quench::kernels::cuda
