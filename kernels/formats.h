// Plain types shared by the interface and by the instruction-set files. Nothing here has a function
// or a template: a file compiled for AVX-512 that includes one would leak wide instructions into the
// whole program as a weak symbol.
#pragma once

#include <cstdint>

namespace quench::kernels {

// How a number is stored in a file or in an embedding table.
enum class ElementType : std::uint8_t { f32, f16, bf16 };

// How the panels of a weight matrix are stored; weight_panels.h has the layouts.
enum class WeightFormat : std::uint8_t { f32, f16, bf16, q8, q4, q3, q2 };

// One weight matrix W[N, K]; owns nothing. For packed formats with act-order the columns are in
// permuted order: the caller passes x gathered by the permutation (Backend::gather_columns).
struct WeightView {
  WeightFormat format = WeightFormat::f32;
  std::int64_t rows = 0;                  // N
  std::int64_t cols = 0;                  // K
  std::int64_t group_size = -1;           // packed formats; -1: one group of all K
  const void* panels = nullptr;           // panel_count(N) * panel_bytes(format, K) bytes
  const std::uint16_t* scales = nullptr;  // packed formats: fp16 [panels][groups][16]
  const std::uint8_t* zeros = nullptr;    // packed formats: [panels][groups][16]
};

enum class GridKind : std::uint8_t {
  symmetric,   // scale = (max - min) / (2^b - 1) with min = -max; zero = 2^(b-1)   (GPTQModel's)
  asymmetric,  // scale = (max - min) / (2^b - 1), the range includes 0; zero = round(-min / scale)
  absmax,      // scale = max|w| / (2^(b-1) - 1); zero = 2^(b-1)                     (int8 per channel)
};
enum class ScaleRule : std::uint8_t {
  range,   // the range of the group as above
  search,  // the range shrunk by 1.00, 0.99, ... 0.20: the least squared error, the widest of equals
};
enum class GroupRule : std::uint8_t {
  updated,   // a group's grid comes from its weights as updated when its block of 128 columns is reached
             // (gptq.h)
  original,  // "static groups": from the original weights
};

// Scales are rounded to fp16 before use and are always finite and > 0: 2^-24 <= scale <= 65504; a
// group of zeros has scale 1.
struct GridSpec {
  int bits = 4;                  // 2..8
  std::int64_t group_size = -1;  // columns in processing order; -1: the whole row
  GridKind kind = GridKind::symmetric;
  ScaleRule rule = ScaleRule::range;
};

}  // namespace quench::kernels
