// One weight of any format out of its panel (weight_panels.h): packed or not, the bits that the CPU's lanes see.
#pragma once

#include "kernels/cuda/device_math.h"
#include "kernels/formats.h"

namespace quench::kernels::cuda {

template <int Bits>
struct PackedLine;
template <>
struct PackedLine<8> {
  static constexpr int kColumns = 4, kWords = 16;
};
template <>
struct PackedLine<4> {
  static constexpr int kColumns = 8, kWords = 16;
};
template <>
struct PackedLine<2> {
  static constexpr int kColumns = 16, kWords = 16;
};
template <>
struct PackedLine<3> {
  static constexpr int kColumns = 32, kWords = 48;
};

// 32-bit words of one panel.
template <int Bits>
QUENCH_DEVICE std::int64_t panel_words(std::int64_t cols) {
  return (cols + PackedLine<Bits>::kColumns - 1) / PackedLine<Bits>::kColumns * PackedLine<Bits>::kWords;
}

// The words of one row in one line.
template <int Bits>
struct LineWords {
  std::uint32_t word[PackedLine<Bits>::kWords / 16];
};
template <int Bits>
QUENCH_DEVICE LineWords<Bits> load_line(const std::uint32_t* line, int lane) {
  LineWords<Bits> words;
  QUENCH_UNROLL
  for (int i = 0; i < PackedLine<Bits>::kWords / 16; ++i) words.word[i] = line[i * 16 + lane];
  return words;
}
template <int Bits>
QUENCH_DEVICE std::uint32_t code_of(const LineWords<Bits>& words, int column) {
  if constexpr (Bits == 3) {
    const std::uint32_t low = words.word[column / 16] >> (2 * (column % 16)) & 3u;
    return low | (words.word[2] >> column & 1u) << 2;
  } else {
    return words.word[0] >> (Bits * column) & ((1u << Bits) - 1u);
  }
}

// Where the scale and zero of a group are.
QUENCH_DEVICE std::int64_t grid_index(const WeightView& w, std::int64_t panel, int lane, std::int64_t k) {
  if (w.group_size < 0) return panel * 16 + lane;
  // 32 bits: a division by a run-time 64-bit number is many times dearer, and K is far below 2^31.
  const auto size = static_cast<std::uint32_t>(w.group_size);
  const std::uint32_t groups = (static_cast<std::uint32_t>(w.cols) + size - 1) / size;
  return (panel * groups + static_cast<std::uint32_t>(k) / size) * 16 + lane;
}

template <int Bits>
QUENCH_DEVICE float packed_weight(const WeightView& w, std::int64_t panel, int lane, std::int64_t k) {
  constexpr int per = PackedLine<Bits>::kColumns;
  const std::uint32_t* line = static_cast<const std::uint32_t*>(w.panels) + panel * panel_words<Bits>(w.cols) +
                              k / per * PackedLine<Bits>::kWords;
  const std::uint32_t code = code_of<Bits>(load_line<Bits>(line, lane), static_cast<int>(k % per));
  const std::int64_t at = grid_index(w, panel, lane, k);
  return (static_cast<float>(code) - static_cast<float>(w.zeros[at])) * half_to_float(w.scales[at]);
}

// W[16 * panel + lane, k] as fp32.
QUENCH_DEVICE float load_weight(const WeightView& w, std::int64_t panel, int lane, std::int64_t k) {
  const std::int64_t at = (panel * w.cols + k) * 16 + lane;
  switch (w.format) {
    case WeightFormat::f32:
      return static_cast<const float*>(w.panels)[at];
    case WeightFormat::f16:
      return half_to_float(static_cast<const std::uint16_t*>(w.panels)[at]);
    case WeightFormat::bf16:
      return brain_to_float(static_cast<const std::uint16_t*>(w.panels)[at]);
    case WeightFormat::q8:
      return packed_weight<8>(w, panel, lane, k);
    case WeightFormat::q4:
      return packed_weight<4>(w, panel, lane, k);
    case WeightFormat::q3:
      return packed_weight<3>(w, panel, lane, k);
    case WeightFormat::q2:
      return packed_weight<2>(w, panel, lane, k);
  }
  return 0.0f;
}

}  // namespace quench::kernels::cuda
