// Sixteen fp32 lanes on AVX2 + FMA + F16C, two registers each: the vocabulary that the kernels in
// cpu/lanes are written in. scalar/lanes.h defines what each word means; the three must agree to the bit.
#pragma once

#include <immintrin.h>

#include <cstdint>

#define QUENCH_ISA avx2
#define QUENCH_INLINE static inline __attribute__((always_inline))

namespace quench::kernels::avx2 {
namespace {

// Register blocking: 6 x 1 accumulators of two registers, 12 of 16.
constexpr int kTileRows = 6;
constexpr int kTilePanels = 1;
constexpr bool kUnrollLines = true;
constexpr int kAttentionRows = 4;
constexpr int kGemvPanels = 2;
constexpr int kPairRows = 4;  // the halves of weights take four registers
constexpr int kColumnTile = 4;
constexpr bool kTwoPositions = false;

struct F {
  __m256 a, b;
};
struct I {
  __m256i a, b;
};
struct D {
  __m256d q[4];
};

QUENCH_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
QUENCH_INLINE void prefetch_second_level(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }
QUENCH_INLINE F zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
QUENCH_INLINE F set1(float x) {
  const __m256 v = _mm256_set1_ps(x);
  return {v, v};
}
QUENCH_INLINE F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
QUENCH_INLINE void store(float* p, F x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
QUENCH_INLINE __m256i lanes_below(std::int64_t n, int base) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n) - base), index);
}
QUENCH_INLINE F load_n(const float* p, std::int64_t n) {
  return {_mm256_maskload_ps(p, lanes_below(n, 0)), _mm256_maskload_ps(p + 8, lanes_below(n, 8))};
}
QUENCH_INLINE void store_n(float* p, F x, std::int64_t n) {
  _mm256_maskstore_ps(p, lanes_below(n, 0), x.a);
  _mm256_maskstore_ps(p + 8, lanes_below(n, 8), x.b);
}
QUENCH_INLINE F add(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
QUENCH_INLINE F sub(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
QUENCH_INLINE F mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
QUENCH_INLINE F div(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
QUENCH_INLINE F fma(F x, F y, F z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
QUENCH_INLINE F fnma(F x, F y, F z) {
  return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
QUENCH_INLINE F minimum(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
QUENCH_INLINE F maximum(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
QUENCH_INLINE F select_gt(F x, F y, F yes, F no) {
  return {_mm256_blendv_ps(no.a, yes.a, _mm256_cmp_ps(x.a, y.a, _CMP_GT_OQ)),
          _mm256_blendv_ps(no.b, yes.b, _mm256_cmp_ps(x.b, y.b, _CMP_GT_OQ))};
}
QUENCH_INLINE F keep_n(F x, std::int64_t n) {
  return {_mm256_and_ps(x.a, _mm256_castsi256_ps(lanes_below(n, 0))),
          _mm256_and_ps(x.b, _mm256_castsi256_ps(lanes_below(n, 8)))};
}

QUENCH_INLINE I as_int(F x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
QUENCH_INLINE F as_float(I x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
QUENCH_INLINE I int_set1(std::int32_t x) {
  const __m256i v = _mm256_set1_epi32(x);
  return {v, v};
}
QUENCH_INLINE I int_load(const void* p) {
  const __m256i* q = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
QUENCH_INLINE I int_and(I x, I y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
QUENCH_INLINE I int_or(I x, I y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
QUENCH_INLINE I int_add(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
QUENCH_INLINE I shift_left(I x, int bits) {
  const __m128i n = _mm_cvtsi32_si128(bits);
  return {_mm256_sll_epi32(x.a, n), _mm256_sll_epi32(x.b, n)};
}
QUENCH_INLINE I shift_right(I x, int bits) {
  const __m128i n = _mm_cvtsi32_si128(bits);
  return {_mm256_srl_epi32(x.a, n), _mm256_srl_epi32(x.b, n)};
}
template <int Bits>
QUENCH_INLINE I shift_right(I x) {
  return {_mm256_srli_epi32(x.a, Bits), _mm256_srli_epi32(x.b, Bits)};
}
template <int Bits>
QUENCH_INLINE I shift_left(I x) {
  return {_mm256_slli_epi32(x.a, Bits), _mm256_slli_epi32(x.b, Bits)};
}

template <int Bits>
QUENCH_INLINE I shift_right_signed(I x) {
  return {_mm256_srai_epi32(x.a, Bits), _mm256_srai_epi32(x.b, Bits)};
}
QUENCH_INLINE void int_store(void* p, I x) {
  __m256i* q = static_cast<__m256i*>(p);
  _mm256_storeu_si256(q, x.a);
  _mm256_storeu_si256(q + 1, x.b);
}
QUENCH_INLINE I nearest_int(F x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
QUENCH_INLINE I pair_madd(I x, I y, I z) {
  return {_mm256_add_epi32(_mm256_madd_epi16(x.a, y.a), z.a), _mm256_add_epi32(_mm256_madd_epi16(x.b, y.b), z.b)};
}

// By halves of 16 bits: a product of bytes that adds two of them at once (vpmaddubsw) would saturate.
QUENCH_INLINE __m256i dot_bytes(__m256i codes, __m256i values, __m256i z) {
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(codes, _mm256_set1_epi16(0xff)),
                                         _mm256_srai_epi16(_mm256_slli_epi16(values, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(codes, 8), _mm256_srai_epi16(values, 8));
  return _mm256_add_epi32(z, _mm256_add_epi32(even, odd));
}
QUENCH_INLINE I dot_bytes(I codes, I values, I z) {
  return {dot_bytes(codes.a, values.a, z.a), dot_bytes(codes.b, values.b, z.b)};
}
QUENCH_INLINE F int_to_float(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }

QUENCH_INLINE __m128i load_128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
QUENCH_INLINE F load_f16(const std::uint16_t* p) {
  return {_mm256_cvtph_ps(load_128(p)), _mm256_cvtph_ps(load_128(p + 8))};
}
QUENCH_INLINE void store_f16(std::uint16_t* p, F x) {
  __m128i* q = reinterpret_cast<__m128i*>(p);
  _mm_storeu_si128(q, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  _mm_storeu_si128(q + 1, _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
QUENCH_INLINE F load_bf16(const std::uint16_t* p) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_128(p)), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_128(p + 8)), 16))};
}
QUENCH_INLINE F load_u8(const std::uint8_t* p) {
  const __m128i bytes = load_128(p);
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))};
}
QUENCH_INLINE void store_u8(std::uint8_t* p, F x) {
  alignas(32) std::int32_t words[16];
  _mm256_store_si256(reinterpret_cast<__m256i*>(words), _mm256_cvtps_epi32(x.a));
  _mm256_store_si256(reinterpret_cast<__m256i*>(words + 8), _mm256_cvtps_epi32(x.b));
  for (int i = 0; i < 16; ++i) p[i] = static_cast<std::uint8_t>(words[i]);
}

QUENCH_INLINE D double_set1(double x) {
  const __m256d v = _mm256_set1_pd(x);
  return {{v, v, v, v}};
}
QUENCH_INLINE D double_zero() { return double_set1(0.0); }
QUENCH_INLINE D double_load(const double* p) {
  return {{_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4), _mm256_loadu_pd(p + 8), _mm256_loadu_pd(p + 12)}};
}
QUENCH_INLINE void double_store(double* p, D x) {
  for (int i = 0; i < 4; ++i) _mm256_storeu_pd(p + 4 * i, x.q[i]);
}
QUENCH_INLINE D widen(F x) {
  return {{_mm256_cvtps_pd(_mm256_castps256_ps128(x.a)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.a, 1)),
           _mm256_cvtps_pd(_mm256_castps256_ps128(x.b)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.b, 1))}};
}
QUENCH_INLINE D widen(I x) {
  return {{_mm256_cvtepi32_pd(_mm256_castsi256_si128(x.a)), _mm256_cvtepi32_pd(_mm256_extracti128_si256(x.a, 1)),
           _mm256_cvtepi32_pd(_mm256_castsi256_si128(x.b)), _mm256_cvtepi32_pd(_mm256_extracti128_si256(x.b, 1))}};
}
QUENCH_INLINE D double_mul(D x, D y) {
  D z;
  for (int i = 0; i < 4; ++i) z.q[i] = _mm256_mul_pd(x.q[i], y.q[i]);
  return z;
}
QUENCH_INLINE D double_fma(D x, D y, D z) {
  for (int i = 0; i < 4; ++i) z.q[i] = _mm256_fmadd_pd(x.q[i], y.q[i], z.q[i]);
  return z;
}
// AVX2 has no conversion to int64, so |x| <= 2^62 is cut in two. Adding 1.5 * 2^84, whose unit is 2^32, leaves x
// rounded to a multiple of 2^32 in its low bits; what that left of x is exact and at most 2^31, and 1.5 * 2^52 rounds
// it to a whole number, ties to even. The upper part is even, so the sum of both is x rounded to nearest even.
QUENCH_INLINE void add_rounded(std::int64_t* p, D x) {
  const __m256d upper = _mm256_set1_pd(0x1.8p84), lower = _mm256_set1_pd(0x1.8p52);
  for (int i = 0; i < 4; ++i) {
    const __m256d high = _mm256_add_pd(x.q[i], upper);
    const __m256d low = _mm256_add_pd(_mm256_sub_pd(x.q[i], _mm256_sub_pd(high, upper)), lower);
    // The bits of 1.5 * 2^84 end in 32 zeros: shifted out with the exponent.
    const __m256i whole = _mm256_add_epi64(_mm256_slli_epi64(_mm256_castpd_si256(high), 32),
                                           _mm256_sub_epi64(_mm256_castpd_si256(low), _mm256_castpd_si256(lower)));
    __m256i* to = reinterpret_cast<__m256i*>(p + 4 * i);
    _mm256_storeu_si256(to, _mm256_add_epi64(_mm256_loadu_si256(to), whole));
  }
}

}  // namespace
}  // namespace quench::kernels::avx2
