// What one instruction set offers: a table of single-thread kernels on tiles. Every slot of the scalar
// table is filled; AVX2 and AVX-512 overwrite slots. The backend cuts the work into tiles for threads.
//
// Plain structs and function pointers only: instruction-set files include this and nothing else. All
// kernels are *exact*: the same bits from every table.
#pragma once

#include <cstdint>

#include "kernels/formats.h"

namespace quench::kernels {

// A block of y = x Wᵀ: `rows` rows, panels [panel_begin, panel_end), k in [k_begin, k_begin + k_count).
struct GemmBlock {
  const float* packed = nullptr;  // x's block as pack_rows gives it
  std::int64_t rows = 0;
  std::int64_t k_begin = 0;
  std::int64_t k_count = 0;
  WeightView weight;
  std::int64_t panel_begin = 0;
  std::int64_t panel_end = 0;
  float* y = nullptr;  // row 0 of the block, output column 0 (panel p writes columns 16p ...)
  std::int64_t y_stride = 0;
  std::int64_t y_panel_stride = 16;
  bool carry = false;        // go on with the chains in y instead of starting at 0
  float* scratch = nullptr;  // k_count * 16 * gemm_panels floats
};

// Up to attention_rows query rows that share one key-value head, in order of rising position.
constexpr std::int64_t kAttentionRowsMax = 8;
struct AttentionTile {
  const float* q[kAttentionRowsMax] = {};
  float* out[kAttentionRowsMax] = {};
  std::int64_t begins[kAttentionRowsMax] = {};   // the first key each row sees
  std::int64_t lengths[kAttentionRowsMax] = {};  // the key behind the last it sees, more than begins
  std::int64_t rows = 0;
  std::int64_t head_dim = 0;
  const float* keys = nullptr;    // [block][head_dim][16]
  const float* values = nullptr;  // [key][padded head_dim]
  float scale = 1.0f;
  float* scores = nullptr;        // scratch, rows * score_stride
  std::int64_t score_stride = 0;  // at least the longest length rounded up to 16
};

// A block of y = x Wᵀ in whole numbers, x's rows as quantize_row gives them, W of eight bits with one scale a row.
struct IntegerBlock {
  const std::int8_t* x = nullptr;      // micro-panels of micro_panel_rows rows, `x_stride` bytes a row: [word of 4][rows of it]
  std::int64_t x_stride = 0;
  const float* scales = nullptr;       // of x's rows
  const std::int32_t* sums = nullptr;  // of the numbers of each row
  std::int64_t rows = 0;
  WeightView weight;
  std::int64_t panel_begin = 0;
  std::int64_t panel_end = 0;
  float* y = nullptr;  // row 0 of the block, output column 0
  std::int64_t y_stride = 0;
};

// A run of columns within one group, in whole lines of a panel; x is 0 in the columns of those lines that are not its own.
struct BrainSegment {
  std::int64_t first_line = 0;
  std::int64_t lines = 0;
  std::int64_t group = 0;
};

// A block of y = x Wᵀ in products of bf16 (cpu/lanes/brain_dot.inl); one row or several.
struct BrainBlock {
  const std::uint32_t* x = nullptr;  // by segment, micro-panels of [words of the segment][rows of it]
  const float* sums = nullptr;       // of x's values by segment and row
  std::int64_t rows = 0;
  const BrainSegment* segments = nullptr;
  std::int64_t segment_count = 0;
  std::int64_t lines = 0;           // of a whole panel
  std::int64_t words_per_line = 0;  // words of two columns
  std::int64_t groups = 0;
  WeightView weight;
  std::int64_t panel_begin = 0;
  std::int64_t panel_end = 0;
  float* y = nullptr;  // row 0 of the block, output column 0
  std::int64_t y_stride = 0;
  std::uint32_t* scratch = nullptr;  // several rows: words of the longest segment * 16 * gemm_panels
};

// Columns of the Hessian whose rows are packed and multiplied together; divides the width of a triangle panel.
constexpr std::int64_t kHessianBlock = 64;

// `rows` x 16 * panels products of the Hessian of a leaf, added to int64 sums.
struct HessianTile {
  const float* a = nullptr;  // packed columns i (pack_block): micro-panels of [tokens][rows of it]
  std::int64_t rows = 0;     // 1 .. kHessianBlock
  const float* b = nullptr;  // packed columns j (pack_lanes): `panels` panels of [tokens][16], one after the other
  std::int64_t panels = 0;
  std::int64_t tokens = 0;
  double unit = 1.0;             // 2^(62 - ceil(log2 T))
  std::int64_t* sums = nullptr;  // row i, column j of the tile
  std::int64_t stride = 0;
};

// The same in products of bf16: words of two tokens.
struct BrainHessianTile {
  const std::uint32_t* a = nullptr;  // brain_columns
  std::int64_t rows = 0;
  const std::uint32_t* b = nullptr;  // brain_lanes
  std::int64_t panels = 0;
  std::int64_t words = 0;
  double unit = 1.0;
  std::int64_t* sums = nullptr;
  std::int64_t stride = 0;
};

// y += the products of words of two columns, one chain of pairs each.
struct BrainUpdate {
  const std::uint32_t* a = nullptr;  // brain_columns
  std::int64_t rows = 0;
  const std::uint32_t* b = nullptr;  // brain_lanes: panel p at b + p * panel_stride
  std::int64_t panel_stride = 0;
  std::int64_t panels = 0;
  std::int64_t words = 0;
  float* y = nullptr;  // row i of panel p at y + i * y_stride + p * y_panel_stride
  std::int64_t y_stride = 0;
  std::int64_t y_panel_stride = 0;
};

// Sixteen weight rows being solved; the lanes are rows.
struct SolveColumns {
  float* current = nullptr;  // weight plus feedback: column k of lane r at current[k * stride + r]
  std::int64_t stride = 0;
  float* errors = nullptr;  // panel [C][16]: the original weights, overwritten by W - Ŵ
  std::int64_t begin = 0;   // columns [begin, end)
  std::int64_t end = 0;
  const float* feedback =
      nullptr;                    // S[j][k] at [(j - begin) * (end - begin) + (k - begin)], j < k; null: none
  const float* pivots = nullptr;  // D_k by processing column - begin; null: no loss
  const float* scale = nullptr;   // 16 values for these columns
  const float* zero = nullptr;
  float code_max = 0;
  std::uint8_t* codes = nullptr;  // [C][code_stride], this panel's 16 lanes first
  std::int64_t code_stride = 0;
  double* losses = nullptr;  // 16, added to
};

struct GridColumns {
  const float* current = nullptr;  // as in SolveColumns
  std::int64_t stride = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  GridSpec grid;
  std::uint16_t* scale_bits = nullptr;  // out: 16 fp16
  float* scale = nullptr;               // out: the same as fp32
  float* zero = nullptr;                // out
};

// Rows below the diagonal tile of a panel of an LDLᵀ.
struct FactorRows {
  float* data = nullptr;  // row-major rows, overwritten by L
  std::int64_t rows = 0;
  std::int64_t stride = 0;
  std::int64_t columns = 0;
  const float* diagonal = nullptr;  // the factored diagonal tile (L), same stride
  const float* pivots = nullptr;
  float* scratch = nullptr;  // columns * 16 floats
};

// Part of Δ H Δᵀ of sixteen rows: columns j of H, their products with Δ over a block of its rows.
struct FoldedProducts {
  const float* products = nullptr;  // column j of lane r at products[j * stride + r]
  std::int64_t stride = 0;
  const float* vectors = nullptr;  // Δ_j, [columns][16]
  std::int64_t columns = 0;
  double* sums = nullptr;  // 16, added to
};

// Largest magnitude of an integer in a row's energy: 256 products of two fit an int32.
constexpr std::int32_t kPairMax = 2047;

// Rows [first_row, first_row + rows) of a panel of H as correlations, whole numbers of 1 / kPairMax, two rows to a word:
// micro-panels of [pairs][columns of it] as micro_panel_rows cuts them. Nothing on and above the diagonal.
struct CorrelationRows {
  const float* panel = nullptr;  // row-major from the panel's first row
  std::int64_t width = 0;
  std::int64_t columns = 0;
  std::int64_t first_row = 0;  // even
  std::int64_t rows = 0;
  const float* row_factors = nullptr;     // kPairMax / sqrt(H_ii) by row of the panel
  const float* column_factors = nullptr;  // 1 / sqrt(H_jj), 16 more readable than columns
  std::int32_t* out = nullptr;            // (rows + 1) / 2 * columns words and 16 more
};

// Sixteen rows of weights times sqrt(H_kk), as whole numbers of unit, two columns to a word.
struct ScaledRows {
  const float* weights = nullptr;  // [columns][16]
  const float* factors = nullptr;  // sqrt(H_kk)
  std::int64_t columns = 0;
  std::int32_t* out = nullptr;  // [(columns + 1) / 2][16]
  double* squares = nullptr;    // 16: sums of squares before rounding
  float* units = nullptr;       // 16: 0 for a row of zeros
};

// sums += q_j (products of c_ij and q_i over a block of rows i of H), j over the columns of a panel; whole numbers but
// for the sums.
struct CorrelationProducts {
  const std::int32_t* rows = nullptr;  // CorrelationRows::out
  std::int64_t pairs = 0;              // at most 128
  std::int64_t columns = 0;            // at most 128
  const std::int32_t* vectors = nullptr;  // ScaledRows::out of `panels` panels, from the first pair of the rows on
  const std::int32_t* column_vectors = nullptr;  // the same from the panel's first column on
  std::int64_t stride = 0;                // from panel to panel
  std::int64_t panels = 0;                // at most gemm_panels
  double* sums = nullptr;                 // 16 * panels
};

// Rows of the next micro-panel when `left` rows are left: full ones, and the last two as even as can be, because a
// tile of one or two rows waits for its own few chains. Of its own in every file: see kernels/README.md.
static inline std::int64_t micro_panel_rows(std::int64_t left, std::int64_t full) {
  if (left >= 2 * full) return full;
  return left <= full ? left : (left + 1) / 2;
}

struct KernelTable {
  const char* name;
  std::int64_t gemm_rows;    // rows of a full micro-panel
  std::int64_t gemm_panels;  // panels side by side in the inner kernel

  // gemm: x[rows, k_count] -> micro-panels of micro_panel_rows rows, each [k][rows of it].
  void (*pack_rows)(const float* x, std::int64_t stride, std::int64_t rows, std::int64_t k_count,
                    float* packed);
  void (*gemm_block)(const GemmBlock& block);
  // Columns k_begin .. of one panel as fp32 [k_count][16]; k_begin a multiple of 32.
  void (*expand_panel)(const WeightView& weight, std::int64_t panel, std::int64_t k_begin,
                       std::int64_t k_count, float* out);
  // packed_gemv: one row of x against panels [panel_begin, panel_end) over all of K.
  void (*gemv)(const WeightView& weight, const float* x, std::int64_t panel_begin, std::int64_t panel_end,
               float* y);

  // integer_dot: a row as signed bytes with 0 up to a multiple of 4, its scale and the sum of its numbers. `scale` 0: the row's
  // largest magnitude over 127.
  void (*quantize_row)(const float* x, std::int64_t count, float scale, std::int8_t* out, float* row_scale,
                       std::int32_t* sum);
  void (*integer_block)(const IntegerBlock& block);
  // Energies of weight rows in whole numbers.
  void (*pack_correlations)(const CorrelationRows& rows);
  void (*scale_rows)(const ScaledRows& rows);
  void (*correlation_products)(const CorrelationProducts& block);

  // brain_dot: values to bf16, the sum of such, products, and Hessian tiles of words of two tokens.
  std::int64_t pair_rows;  // rows of a full micro-panel
  void (*brain_row)(const float* x, std::int64_t count, std::uint16_t* out);
  float (*brain_sum)(const std::uint16_t* x, std::int64_t count);
  void (*brain_block)(const BrainBlock& block);
  void (*brain_lanes)(const float* x, std::int64_t stride, std::int64_t tokens, std::int64_t count, const float* factors,
                      std::uint32_t* out);
  void (*brain_columns)(const float* x, std::int64_t stride, std::int64_t tokens, std::int64_t count, const float* factors,
                        std::uint32_t* out);
  void (*brain_hessian_tile)(const BrainHessianTile& tile);
  void (*brain_update)(const BrainUpdate& update);

  std::int64_t attention_rows;  // at most kAttentionRowsMax: keys and values pass through the caches once for all of them
  void (*attention)(const AttentionTile& tile);

  // elementwise
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float epsilon, std::int64_t count, float* y);
  void (*gelu)(const float* x, std::int64_t count, float* out);
  void (*rms_norm)(const float* x, const float* weight, float epsilon, std::int64_t count, float* y);
  void (*rope)(float* x, std::int64_t heads, std::int64_t head_dim, const float* cosines, const float* sines);
  void (*silu_multiply)(const float* gate, const float* up, std::int64_t count, float* out);
  void (*add)(const float* x, std::int64_t count, float* y);
  void (*convert)(const void* source, ElementType type, std::int64_t count, float* out);
  void (*exp)(const float* x, std::int64_t count, float* y);
  // max, and the sum of exp(x - max).
  void (*softmax_sum)(const float* x, std::int64_t count, float* max, float* sum);
  // y = (x - max) - log_sum.
  void (*shift)(const float* x, std::int64_t count, float max, float log_sum, float* y);
  std::int64_t (*argmax)(const float* x, std::int64_t count);
  void (*absolute_max)(const float* x, std::int64_t stride, std::int64_t rows, std::int64_t count,
                       float* max);

  // hessian: columns [0, count) of x[tokens] times `factors`. pack_lanes: panels of [tokens][16], the last filled
  // up with zeros. pack_block: up to kHessianBlock columns as the micro-panels of a matrix product's rows.
  void (*pack_lanes)(const float* x, std::int64_t stride, std::int64_t tokens, std::int64_t count,
                     const float* factors, float* out);
  void (*pack_block)(const float* x, std::int64_t stride, std::int64_t tokens, std::int64_t count,
                     const float* factors, float* out);
  void (*hessian_tile)(const HessianTile& tile);

  // gptq
  std::int64_t (*factor_diagonal)(float* tile, std::int64_t stride, std::int64_t columns, float* pivots);
  void (*factor_rows)(const FactorRows& rows);
  void (*fit_grid)(const GridColumns& columns);
  void (*solve_columns)(const SolveColumns& columns);
  // The same feedback with nothing rounded; reads `current`, `errors` and `feedback` only.
  void (*update_columns)(const SolveColumns& columns);
  void (*fold_products)(const FoldedProducts& block);
};

// Each fills its slots; scalar fills all of them.
namespace scalar {
void fill_gemm(KernelTable& table);
void fill_packed_gemv(KernelTable& table);
void fill_integer_dot(KernelTable& table);
void fill_brain_dot(KernelTable& table);
void fill_attention(KernelTable& table);
void fill_elementwise(KernelTable& table);
void fill_hessian(KernelTable& table);
void fill_gptq(KernelTable& table);
}  // namespace scalar
namespace avx2 {
void fill_gemm(KernelTable& table);
void fill_packed_gemv(KernelTable& table);
void fill_integer_dot(KernelTable& table);
void fill_brain_dot(KernelTable& table);
void fill_attention(KernelTable& table);
void fill_elementwise(KernelTable& table);
void fill_hessian(KernelTable& table);
void fill_gptq(KernelTable& table);
}  // namespace avx2
namespace avx512 {
void fill_gemm(KernelTable& table);
void fill_packed_gemv(KernelTable& table);
void fill_integer_dot(KernelTable& table);
void fill_brain_dot(KernelTable& table);
void fill_attention(KernelTable& table);
void fill_elementwise(KernelTable& table);
void fill_hessian(KernelTable& table);
void fill_gptq(KernelTable& table);
// The same slots as fill_integer_dot with AVX512-VNNI.
void fill_integer_dot_vnni(KernelTable& table);
// The same slots as fill_brain_dot with AVX512-BF16.
void fill_brain_dot_bf16(KernelTable& table);
}  // namespace avx512

}  // namespace quench::kernels
