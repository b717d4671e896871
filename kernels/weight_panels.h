// Weights of a linear layer as the kernels read them: panels of 16 rows.
//
// A weight matrix W[N, K] (N outputs, K inputs) is cut in ceil(N / 16) panels. Rows are the lanes:
// whatever the format, the kernel gets the 16 values W[16p .. 16p+15, k] side by side, k after k, so
// that decoding one token and prefilling many sum over K in one and the same order. Rows beyond N
// are zero.
//
//   f32, f16, bf16   panel = [K][16] values.
//   q8, q4, q3, q2   panel = 64-byte lines of 16 little-endian 32-bit words, word r for row r.
//     q8  line g: byte j of a word is the code at k = 4g + j.
//     q4  line g: bits 4j .. 4j+3 are the code at k = 8g + j.
//     q2  line g: bits 2j, 2j+1 are the code at k = 16g + j.
//     q3  three lines for 32 columns k = 32g + j: the low two bits of j = 0..15 as in q2, those of
//         j = 16..31 as in q2, then one line whose bit j is the high bit of the code of j.
//     Codes beyond K are zero.
//   scales           [panels][groups][16] fp16 (raw bits), groups = ceil(K / group_size).
//   zeros            [panels][groups][16] uint8.
//
// The word of q8, q4 and q2 is the word of GPTQ's `qweight` [K * bits / 32, N], so an export only
// moves words. Value: w = (code - zero) * scale: the difference is exact in fp32, the product is
// rounded once to fp32. A packed product has exactly the bits of the product with f32 panels holding w.
//
// Plain functions on memory, safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/formats.h"
#include "kernels/memory.h"
#include "kernels/tensor_view.h"

namespace quench::kernels {

inline constexpr std::int64_t kPanelRows = 16;

// 8, 4, 3, 2 -> q8, q4, q3, q2; aborts on anything else (the caller has checked the job).
WeightFormat packed_format(int bits) noexcept;
// Bits of a code; 0 for the dense formats.
int code_bits(WeightFormat format) noexcept;
inline std::int64_t panel_count(std::int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }
// Bytes of one panel of K columns: a multiple of 32.
std::size_t panel_bytes(WeightFormat format, std::int64_t cols) noexcept;
// Groups of a row: ceil(K / group_size); a group_size of -1 means one group.
std::int64_t group_count(std::int64_t cols, std::int64_t group_size) noexcept;

// The owner of a WeightView's memory. Throws std::bad_alloc.
struct WeightPanels {
  WeightFormat format = WeightFormat::f32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t group_size = -1;
  AlignedBuffer<std::uint8_t> panels;
  AlignedBuffer<std::uint16_t> scales;
  AlignedBuffer<std::uint8_t> zeros;

  // Allocates for a shape, in `memory` when it is given; the contents are unset until packed.
  static WeightPanels allocate(WeightFormat format, std::int64_t rows, std::int64_t cols,
                               std::int64_t group_size = -1, Memory* memory = nullptr);
  // After packing, when they were allocated in `memory`.
  void to_device(Memory* memory) const;
  std::size_t bytes() const;
  WeightView view() const;
};

// Copies row-major W[rows, cols] of `source_type` (rows side by side, any alignment) into dense
// panels of `to.format`. Allowed: same type, or any type to f32; anything else aborts.
void pack_dense(const void* source, ElementType source_type, WeightPanels& to) noexcept;

// Packs plain codes [rows, cols] (row-major, each < 2^bits) of one matrix into panels.
// `scales` (fp16 bits) and `zeros` are row-major [rows, groups]. Rows beyond the last get scale 1 and zero 0.
void pack_codes(const std::uint8_t* codes, const std::uint16_t* scales, const std::uint8_t* zeros,
                WeightPanels& to) noexcept;
// The inverse of pack_codes for the codes: [rows, cols] row-major.
void unpack_codes(const WeightView& from, std::uint8_t* codes) noexcept;
// One panel: `codes` row-major with `rows` (1..16) rows `stride` apart; missing rows become zero.
void pack_panel(int bits, const std::uint8_t* codes, std::int64_t rows, std::int64_t cols,
                std::int64_t stride, std::uint8_t* panel) noexcept;
void unpack_panel(int bits, const std::uint8_t* panel, std::int64_t rows, std::int64_t cols,
                  std::int64_t stride, std::uint8_t* codes) noexcept;
// Row-major fp32 values of any format; `out` is [rows, cols].
void dequantize(const WeightView& from, MatrixView out) noexcept;

// Exact conversions; to_f16 rounds to nearest even (overflow to infinity, subnormals kept).
float f16_to_f32(std::uint16_t bits) noexcept;
std::uint16_t f32_to_f16(float value) noexcept;
float bf16_to_f32(std::uint16_t bits) noexcept;
// Any stored type to fp32, `count` values.
void convert_to_f32(const void* source, ElementType type, std::size_t count, float* out) noexcept;

}  // namespace quench::kernels
