// Grids, and what solving a row tile takes and gives (GPTQ as LDLQ, and rounding to nearest).
//
// code_k = round((W_k + sum over j<k of (W_j - Ŵ_j) S_jk) / scale) + zero, clamped to 0 .. 2^bits - 1;
// each (row, k) is one fp32 FMA chain that starts at W_k and takes j in rising order, so the
// result depends neither on block sizes nor on which other rows are in the tile.
//
// GroupRule::updated: the grid of a group that begins at column b covers W'_k = W_k + sum over j<c of
// (W_j - Ŵ_j) S_jk + sum over c<=j<k of (W_j - W'_j) S_jk, c = b rounded down to a multiple of kGridColumns:
// what is left of the weights when the errors of the columns before c are made good for and nothing after
// them is rounded. Those are the weights that GPTQ holds when it reaches column c (the first sum alone is
// not, save for k = c), and it works in blocks of 128 columns. Measured on correlated inputs: the first sum
// alone costs up to 60 % at 3 bits, c = b instead of c up to 9 % at 2 bits in groups of 64.
//
// In products of bf16 (Backend::set_products) errors and S are rounded to bf16 where they go from one block of
// kGridColumns columns to later ones: W_k + one chain of pairs, the later column of a pair first, for each run of
// 256 columns before the block, then the fp32 chain over the columns of the block. (Groups longer than a block
// cut a run where their grid was fitted.) Measured: the loss of a layer changes by 6e-5 at 4 bits, 9e-4 at 3.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/formats.h"
#include "kernels/hessian.h"
#include "kernels/tensor_view.h"

namespace quench::kernels {

inline constexpr std::int64_t kGridColumns = 128;

// The factor of one Hessian, in reversed order (hessian.h); every panel is present.
struct FactorView {
  TrianglePanels layout;
  const float* const* panels = nullptr;  // L below the diagonal; the diagonal and above are not read
  const float* pivots = nullptr;         // D by factor position, C values
};

// Results of a tile of `rows` rows and C columns in processing order. Row r of each array is row r
// of the tile. `dequantized` and `losses` may be empty/null.
struct SolveOutput {
  std::uint8_t* codes = nullptr;    // [rows][C]
  std::uint16_t* scales = nullptr;  // fp16 bits [rows][groups]
  std::uint8_t* zeros = nullptr;    // [rows][groups]
  MatrixView dequantized;           // [rows, C] or data == nullptr
  double* losses = nullptr;  // [rows]: sum over k of D_k (W_k + feedback - Ŵ_k)^2 = ΔHΔᵀ of the row
};

}  // namespace quench::kernels
