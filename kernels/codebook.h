// Additive quantization (AQLM, 2401.06118): a group of 8 or 16 inputs of a row is the row's scale times the sum of one
// entry of each codebook; a linear has one set of codebooks.
//
//   w[r, 8j + d] = scale[r] * (c_0[code_0][d] + c_1[code_1][d] + ...)       rounded after each sum and the product
//
// Packed: codes [panels][groups][codebooks] of sixteen codes (the rows of a panel), `code_bits` bits each, lowest bit
// first, so 2 * code_bits bytes; scales [panels][16]. While a linear is being quantized its codes lie the same way with
// 16 bits each. Rows beyond the last have codes 0 and scale 0.
//
// Quantizing minimises the sum over rows of Δ H Δᵀ, Δ = w - ŵ. What is done by rows lies in panels [panel][K][16]; what
// is a product with H lies as columns [K][lanes], lanes = 16 * panels, so that it is a matrix product of H with the
// panels and rows are lanes throughout. Everything is exact: the same bits on every instruction set, for any number of
// threads, and for a row whatever the other rows are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/tensor_view.h"

namespace quench::kernels {

// Bytes behind the codes that may be read.
inline constexpr std::size_t kCodePadding = 4;
// Columns that are searched between two products with H; a multiple of every group.
inline constexpr std::int64_t kSearchColumns = 128;

// Owns nothing.
struct AdditiveView {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  int codebooks = 0;
  int bits = 0;       // 2^bits entries in a codebook
  int code_bits = 0;  // a code's width in memory
  int group = 8;
  const std::uint8_t* codes = nullptr;
  const float* entries = nullptr;  // [codebooks][2^bits][group]
  const float* scales = nullptr;   // [panels][16]

  std::int64_t entry_count() const { return std::int64_t{1} << bits; }
  std::int64_t groups() const { return cols / group; }
  std::int64_t values() const { return codebooks * entry_count() * group; }
  std::size_t panel_code_bytes() const {
    return static_cast<std::size_t>(groups() * codebooks * 2 * code_bits);
  }
};

// One pass over all groups of all rows, group after group in column order.
struct CodebookSearch {
  AdditiveView shape;                // code_bits 16; scales and entries as they are, codes not read
  std::uint16_t* codes = nullptr;    // [panels][groups][codebooks][16], in and out
  const float* weights = nullptr;    // panels
  float* residual = nullptr;         // panels: Δ, in (but for feedback) and out
  const float* coupling = nullptr;   // [K][K], see below
  const float* metric = nullptr;     // [groups][group][group]
  int sweeps = 1;                    // over the codebooks of a group
  // false: codes are improved one group at a time against H with all others as they are: coupling is H, metric its
  // diagonal blocks. Never a greater loss, but for rounding.
  // true: codes are chosen anew with feedback (LDLQ): with H = U D Uᵀ, U unit upper block triangular, coupling is Uᵀ
  // and metric D; the error of a group is made good for by those behind it.
  bool feedback = false;
};

// Sums over rows, as integers in units of 2^-shift: they may be added in any order, on any rank.
struct EntrySums {
  std::int64_t* sums = nullptr;  // [codebooks][2^bits][group], added to
  double unit = 1.0;             // 2^shift
};

class Codebooks {
 public:
  virtual ~Codebooks() = default;

  // y[M, N] = x[M, K] Wᵀ, the bits of the product with f32 panels that hold the same weights (Backend::gemm).
  virtual void gemm(ConstMatrixView x, const AdditiveView& weight, MatrixView y) = 0;
  // Row-major fp32 weights [rows, cols].
  virtual void dequantize(const AdditiveView& weight, MatrixView out) = 0;

  // panels = weights - ŵ, or with null weights ŵ; with null scales ŵ is the sum of entries alone.
  virtual void residual(const AdditiveView& shape, const float* weights, float* panels) = 0;
  // y [K][lanes] = H times the panels, H [K][K] symmetric: column k is (H Δᵀ)_k of every row.
  virtual void products(ConstMatrixView h, const float* panels, MatrixView y) = 0;
  // dots[lane] = sum over k of panels_k * y_k, in double in rising k.
  virtual void row_dots(const float* panels, ConstMatrixView y, std::span<double> dots) = 0;
  // The largest |factor[lane] * y[k][lane]|.
  virtual float largest(ConstMatrixView y, const float* factors) = 0;
  // Adds factor[lane] * y[8j + d][lane], rounded, to element d of the entries that lane's codes of group j name.
  virtual void add_to_entries(const AdditiveView& shape, ConstMatrixView y, const float* factors, const EntrySums& out) = 0;
  // The same with y[k][lane] = diagonal[k].
  virtual void add_diagonal(const AdditiveView& shape, const float* diagonal, const float* factors,
                            const EntrySums& out) = 0;
  virtual void search(const CodebookSearch& pass) = 0;
  // The nearest of `count` entries [count][group] (the first of equals) to each of the points [panels][group][16].
  virtual void nearest(const float* entries, std::int64_t count, int group, const float* points, std::int64_t panels,
                       std::int32_t* index) = 0;
};

// Row-major [rows, cols] into panels, and the codes of one tile at their true width. Safe from any thread.
void to_panels(ConstMatrixView from, float* panels) noexcept;
// `codes` 16 bits each, `count` groups of sixteen; out 2 * bits bytes a group.
void narrow_codes(const std::uint16_t* codes, std::int64_t count, int bits, std::uint8_t* out) noexcept;
// One of sixteen codes.
std::uint32_t code_of(const std::uint8_t* sixteen, int bits, int row) noexcept;

}  // namespace quench::kernels
