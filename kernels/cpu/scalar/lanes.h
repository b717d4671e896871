// Sixteen fp32 lanes in plain C++: the reference for what each word of the kernels' vocabulary
// means. The compiler may not fuse or reorder (-ffp-contract=off); `fma` is one rounding everywhere.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#define QUENCH_ISA scalar
#define QUENCH_INLINE static inline

namespace quench::kernels::scalar {
namespace {

constexpr int kTileRows = 2;
constexpr int kTilePanels = 1;
// Whole lines of codes as straight code; in scalar code that is long to compile and gains nothing.
constexpr bool kUnrollLines = false;
constexpr int kAttentionRows = 4;
constexpr int kGemvPanels = 1;
// Rows of a tile whose values are pairs (pairs.inl).
constexpr int kPairRows = 2;
constexpr int kColumnTile = 2;
// Whether registers suffice for two forms of a grid (packed_gemv.inl).
constexpr bool kTwoPositions = false;

struct F {
  float v[16];
};
struct I {
  std::uint32_t v[16];
};
struct D {
  double v[16];
};

// Masks over the 32-bit words of sixteen little-endian doubles.
#define QUENCH_PAIRS(low, high) \
  low, high, low, high, low, high, low, high, low, high, low, high, low, high, low, high
constexpr std::int32_t kLowWord[32] = {QUENCH_PAIRS(0x1fffffff, 0), QUENCH_PAIRS(0x1fffffff, 0)};
constexpr std::int32_t kHighWord[32] = {QUENCH_PAIRS(0, 0x7fffffff), QUENCH_PAIRS(0, 0x7fffffff)};
#undef QUENCH_PAIRS

#define QUENCH_LANES(Type, expression)                \
  Type r;                                             \
  for (int i = 0; i < 16; ++i) r.v[i] = (expression); \
  return r

// A hint that the cache line of p will be read and written soon.
QUENCH_INLINE void prefetch(const void*) {}
QUENCH_INLINE void prefetch_second_level(const void*) {}
QUENCH_INLINE F set1(float x) { QUENCH_LANES(F, x); }
QUENCH_INLINE F zero() { return set1(0.0f); }
QUENCH_INLINE F load(const float* p) { QUENCH_LANES(F, p[i]); }
QUENCH_INLINE void store(float* p, F a) { std::memcpy(p, a.v, sizeof(a.v)); }
// The first n lanes (0..16); the others are +0 and their memory is not touched.
QUENCH_INLINE F load_n(const float* p, std::int64_t n) { QUENCH_LANES(F, i < n ? p[i] : 0.0f); }
QUENCH_INLINE void store_n(float* p, F a, std::int64_t n) {
  for (int i = 0; i < n; ++i) p[i] = a.v[i];
}
QUENCH_INLINE F add(F a, F b) { QUENCH_LANES(F, a.v[i] + b.v[i]); }
QUENCH_INLINE F sub(F a, F b) { QUENCH_LANES(F, a.v[i] - b.v[i]); }
QUENCH_INLINE F mul(F a, F b) { QUENCH_LANES(F, a.v[i] * b.v[i]); }
QUENCH_INLINE F div(F a, F b) { QUENCH_LANES(F, a.v[i] / b.v[i]); }
// a * b + c, rounded once. The product is exact in double, so only the sum and its narrowing round. Rounding
// twice differs from rounding once only when the double is the midpoint of two floats (its 29 extra bits are
// 1000...) or the float is subnormal: those lanes, one in 5e8, go to std::fma, whose calls would otherwise
// cost most of the time.
QUENCH_INLINE F fma(F a, F b, F c) {
  F r;
  double sums[16];
  for (int i = 0; i < 16; ++i) {
    sums[i] = static_cast<double>(a.v[i]) * static_cast<double>(b.v[i]) + static_cast<double>(c.v[i]);
  }
  for (int i = 0; i < 16; ++i) r.v[i] = static_cast<float>(sums[i]);
  std::int32_t words[32];
  std::memcpy(words, sums, sizeof(words));
  std::int32_t rare = 0;
  for (int i = 0; i < 32; ++i) {
    const std::int32_t midpoint = (words[i] & kLowWord[i]) == (i % 2 == 0 ? 0x10000000 : 1) ? -1 : 0;
    const std::int32_t magnitude = words[i] & kHighWord[i];
    rare |= midpoint | ((magnitude > 0 ? -1 : 0) & (magnitude < 0x38100000 ? -1 : 0));  // below 2^-126
  }
  if (rare != 0) [[unlikely]] {
    for (int i = 0; i < 16; ++i) r.v[i] = std::fma(a.v[i], b.v[i], c.v[i]);
  }
  return r;
}
// -(a * b) + c, rounded once.
QUENCH_INLINE F fnma(F a, F b, F c) {
  for (int i = 0; i < 16; ++i) a.v[i] = -a.v[i];
  return fma(a, b, c);
}
// As x86 has them: the second operand when either is NaN or both are zero.
QUENCH_INLINE F minimum(F a, F b) { QUENCH_LANES(F, a.v[i] < b.v[i] ? a.v[i] : b.v[i]); }
QUENCH_INLINE F maximum(F a, F b) { QUENCH_LANES(F, a.v[i] > b.v[i] ? a.v[i] : b.v[i]); }
// a > b ? x : y.
QUENCH_INLINE F select_gt(F a, F b, F x, F y) { QUENCH_LANES(F, a.v[i] > b.v[i] ? x.v[i] : y.v[i]); }
QUENCH_INLINE F keep_n(F a, std::int64_t n) { QUENCH_LANES(F, i < n ? a.v[i] : 0.0f); }

QUENCH_INLINE I as_int(F a) {
  I r;
  std::memcpy(r.v, a.v, sizeof(r.v));
  return r;
}
QUENCH_INLINE F as_float(I a) {
  F r;
  std::memcpy(r.v, a.v, sizeof(r.v));
  return r;
}
QUENCH_INLINE I int_set1(std::int32_t x) { QUENCH_LANES(I, static_cast<std::uint32_t>(x)); }
QUENCH_INLINE I int_load(const void* p) {
  I r;
  std::memcpy(r.v, p, sizeof(r.v));
  return r;
}
QUENCH_INLINE I int_and(I a, I b) { QUENCH_LANES(I, a.v[i] & b.v[i]); }
QUENCH_INLINE I int_or(I a, I b) { QUENCH_LANES(I, a.v[i] | b.v[i]); }
QUENCH_INLINE I int_add(I a, I b) { QUENCH_LANES(I, a.v[i] + b.v[i]); }
QUENCH_INLINE I shift_left(I a, int bits) { QUENCH_LANES(I, a.v[i] << bits); }
QUENCH_INLINE I shift_right(I a, int bits) { QUENCH_LANES(I, a.v[i] >> bits); }
template <int Bits>
QUENCH_INLINE I shift_right(I a) {
  return shift_right(a, Bits);
}
template <int Bits>
QUENCH_INLINE I shift_left(I a) {
  return shift_left(a, Bits);
}

QUENCH_INLINE std::int32_t as_signed(std::uint32_t x) { return static_cast<std::int32_t>(x); }
template <int Bits>
QUENCH_INLINE I shift_right_signed(I a) {
  QUENCH_LANES(I, static_cast<std::uint32_t>(as_signed(a.v[i]) >> Bits));
}
QUENCH_INLINE void int_store(void* p, I a) { std::memcpy(p, a.v, sizeof(a.v)); }
// To the nearest whole number, ties to even; lanes are within an int32.
QUENCH_INLINE I nearest_int(F a) { QUENCH_LANES(I, static_cast<std::uint32_t>(static_cast<std::int32_t>(std::nearbyintf(a.v[i])))); }
// c plus the products of the upper and of the lower signed halves of a word.
QUENCH_INLINE I pair_madd(I a, I b, I c) {
  QUENCH_LANES(I, static_cast<std::uint32_t>(as_signed(c.v[i]) + (as_signed(a.v[i]) >> 16) * (as_signed(b.v[i]) >> 16) +
                                             static_cast<std::int16_t>(a.v[i]) * static_cast<std::int16_t>(b.v[i])));
}

// c plus the products of the four bytes of a word of `codes`, unsigned, with those of `values`, signed; wraps.
QUENCH_INLINE I dot_bytes(I codes, I values, I c) {
  for (int i = 0; i < 16; ++i) {
    for (int shift = 0; shift < 32; shift += 8) {
      const auto code = static_cast<std::int32_t>(codes.v[i] >> shift & 0xffu);
      c.v[i] += static_cast<std::uint32_t>(code * static_cast<std::int8_t>(values.v[i] >> shift));
    }
  }
  return c;
}
// To the nearest float, ties to even.
QUENCH_INLINE F int_to_float(I a) { QUENCH_LANES(F, static_cast<float>(as_signed(a.v[i]))); }

QUENCH_INLINE float half_to_float(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
  const std::uint32_t magnitude = h & 0x7fffu;
  if (magnitude < 0x400u) {  // zero and subnormals: magnitude * 2^-24, exact
    const float value = static_cast<float>(magnitude) * 5.9604644775390625e-8f;
    return sign ? -value : value;
  }
  const std::uint32_t rebias = magnitude >= 0x7c00u ? 0x70000000u : 0x38000000u;
  const std::uint32_t bits = sign | ((magnitude << 13) + rebias);
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
// To nearest, ties to even; NaN keeps its sign and becomes quiet as vcvtps2ph makes it.
QUENCH_INLINE std::uint16_t float_to_half(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u)
    return static_cast<std::uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {  // below 2^-14: round to a multiple of 2^-24 by adding 1/2 with that ulp
    float absolute;
    std::memcpy(&absolute, &magnitude, 4);
    const float shifted = absolute + 0.5f;
    std::uint32_t shifted_bits;
    std::memcpy(&shifted_bits, &shifted, 4);
    return static_cast<std::uint16_t>(sign | (shifted_bits - 0x3f000000u));
  }
  const std::uint32_t odd = (magnitude >> 13) & 1u;
  return static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + odd) >> 13));
}

QUENCH_INLINE F load_f16(const std::uint16_t* p) { QUENCH_LANES(F, half_to_float(p[i])); }
QUENCH_INLINE void store_f16(std::uint16_t* p, F a) {
  for (int i = 0; i < 16; ++i) p[i] = float_to_half(a.v[i]);
}
QUENCH_INLINE F load_bf16(const std::uint16_t* p) {
  I r;
  for (int i = 0; i < 16; ++i) r.v[i] = static_cast<std::uint32_t>(p[i]) << 16;
  return as_float(r);
}
QUENCH_INLINE F load_u8(const std::uint8_t* p) { QUENCH_LANES(F, static_cast<float>(p[i])); }
// Lanes hold whole numbers 0..255.
QUENCH_INLINE void store_u8(std::uint8_t* p, F a) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<std::uint8_t>(a.v[i]);
}

QUENCH_INLINE D double_set1(double x) { QUENCH_LANES(D, x); }
QUENCH_INLINE D double_zero() { return double_set1(0.0); }
QUENCH_INLINE D double_load(const double* p) { QUENCH_LANES(D, p[i]); }
QUENCH_INLINE void double_store(double* p, D a) { std::memcpy(p, a.v, sizeof(a.v)); }
QUENCH_INLINE D widen(F a) { QUENCH_LANES(D, static_cast<double>(a.v[i])); }
QUENCH_INLINE D widen(I a) { QUENCH_LANES(D, static_cast<double>(as_signed(a.v[i]))); }
QUENCH_INLINE D double_mul(D a, D b) { QUENCH_LANES(D, a.v[i] * b.v[i]); }
QUENCH_INLINE D double_fma(D a, D b, D c) { QUENCH_LANES(D, std::fma(a.v[i], b.v[i], c.v[i])); }
// Adds each lane, at most 2^62 in size, rounded to the nearest integer, ties to even.
QUENCH_INLINE void add_rounded(std::int64_t* p, D a) {
  for (int i = 0; i < 16; ++i) p[i] += std::llrint(a.v[i]);
}
#undef QUENCH_LANES

}  // namespace
}  // namespace quench::kernels::scalar
