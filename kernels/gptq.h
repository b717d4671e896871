// Grids, and what solving a row tile takes and gives (GPTQ as LDLQ, and rounding to nearest).
//
// code_k = round((W_k + sum over j<k of (W_j - Ŵ_j) S_jk) / scale) + zero, clamped to 0 .. 2^bits - 1;
// each (row, k) is one fp32 FMA chain that starts at W_k and takes j in rising order, so the
// result depends neither on block sizes nor on which other rows are in the tile.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/hessian.h"
#include "kernels/tensor_view.h"

namespace quench::kernels {

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
  updated,   // a group's grid comes from its weights as updated when its first column is reached
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

// The factor of one Hessian, in reversed order (hessian.h); every panel is present.
struct FactorView {
  TrianglePanels layout;
  const float* const* panels = nullptr;  // L below the diagonal; the diagonal and above are not read
  const float* pivots = nullptr;         // D by factor position, C values
};

// Results of a tile of `rows` rows and C columns in processing order. Row r of each array is row r
// of the tile. `dequantized` and `losses` may be empty/null.
struct SolveOutput {
  std::uint8_t* codes = nullptr;   // [rows][C]
  std::uint16_t* scales = nullptr; // fp16 bits [rows][groups]
  std::uint8_t* zeros = nullptr;   // [rows][groups]
  MatrixView dequantized;          // [rows, C] or data == nullptr
  double* losses = nullptr;        // [rows]: sum over k of D_k (W_k + feedback - Ŵ_k)^2 = ΔHΔᵀ of the row
};

}  // namespace quench::kernels
