// Sixteen fp32 lanes on AVX-512: the vocabulary that the kernels in cpu/lanes are written in.
// scalar/lanes.h defines what each word means; the three must agree to the bit.
#pragma once

#include <immintrin.h>

#include <cstdint>

#define QUENCH_ISA avx512
#define QUENCH_INLINE static inline __attribute__((always_inline))

namespace quench::kernels::avx512 {
namespace {

// Register blocking: kTileRows x kTilePanels accumulators of one register, 24 of 32.
constexpr int kTileRows = 12;
constexpr int kTilePanels = 2;
constexpr bool kUnrollLines = true;
constexpr int kAttentionRows = 8;
constexpr int kGemvPanels = 4;
constexpr int kPairRows = 12;
constexpr int kColumnTile = 8;
constexpr bool kTwoPositions = true;

struct F {
  __m512 v;
};
struct I {
  __m512i v;
};
struct D {
  __m512d low, high;
};

QUENCH_INLINE __mmask16 first_lanes(std::int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }

QUENCH_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
QUENCH_INLINE void prefetch_second_level(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }
QUENCH_INLINE F zero() { return {_mm512_setzero_ps()}; }
QUENCH_INLINE F set1(float x) { return {_mm512_set1_ps(x)}; }
QUENCH_INLINE F load(const float* p) { return {_mm512_loadu_ps(p)}; }
QUENCH_INLINE void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
QUENCH_INLINE F load_n(const float* p, std::int64_t n) { return {_mm512_maskz_loadu_ps(first_lanes(n), p)}; }
QUENCH_INLINE void store_n(float* p, F a, std::int64_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), a.v); }
QUENCH_INLINE F add(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
QUENCH_INLINE F sub(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
QUENCH_INLINE F mul(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
QUENCH_INLINE F div(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
QUENCH_INLINE F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
QUENCH_INLINE F fnma(F a, F b, F c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
QUENCH_INLINE F minimum(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
QUENCH_INLINE F maximum(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
QUENCH_INLINE F select_gt(F a, F b, F x, F y) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ), y.v, x.v)};
}
QUENCH_INLINE F keep_n(F a, std::int64_t n) { return {_mm512_maskz_mov_ps(first_lanes(n), a.v)}; }

QUENCH_INLINE I as_int(F a) { return {_mm512_castps_si512(a.v)}; }
QUENCH_INLINE F as_float(I a) { return {_mm512_castsi512_ps(a.v)}; }
QUENCH_INLINE I int_set1(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
QUENCH_INLINE I int_load(const void* p) { return {_mm512_loadu_si512(p)}; }
QUENCH_INLINE I int_and(I a, I b) { return {_mm512_and_si512(a.v, b.v)}; }
QUENCH_INLINE I int_or(I a, I b) { return {_mm512_or_si512(a.v, b.v)}; }
QUENCH_INLINE I int_add(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
QUENCH_INLINE I shift_left(I a, int bits) { return {_mm512_sll_epi32(a.v, _mm_cvtsi32_si128(bits))}; }
QUENCH_INLINE I shift_right(I a, int bits) { return {_mm512_srl_epi32(a.v, _mm_cvtsi32_si128(bits))}; }
template <int Bits>
QUENCH_INLINE I shift_right(I a) {
  return {_mm512_srli_epi32(a.v, Bits)};
}
template <int Bits>
QUENCH_INLINE I shift_left(I a) {
  return {_mm512_slli_epi32(a.v, Bits)};
}

template <int Bits>
QUENCH_INLINE I shift_right_signed(I a) {
  return {_mm512_srai_epi32(a.v, Bits)};
}
QUENCH_INLINE void int_store(void* p, I a) { _mm512_storeu_si512(p, a.v); }
QUENCH_INLINE I nearest_int(F a) { return {_mm512_cvtps_epi32(a.v)}; }

#ifdef __AVX512VNNI__
QUENCH_INLINE I pair_madd(I a, I b, I c) { return {_mm512_dpwssd_epi32(c.v, a.v, b.v)}; }
QUENCH_INLINE I dot_bytes(I codes, I values, I c) { return {_mm512_dpbusd_epi32(c.v, codes.v, values.v)}; }
#else
QUENCH_INLINE I pair_madd(I a, I b, I c) { return {_mm512_add_epi32(_mm512_madd_epi16(a.v, b.v), c.v)}; }
QUENCH_INLINE I dot_bytes(I codes, I values, I c) {
  const __m512i even = _mm512_madd_epi16(_mm512_and_si512(codes.v, _mm512_set1_epi16(0xff)),
                                         _mm512_srai_epi16(_mm512_slli_epi16(values.v, 8), 8));
  const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16(codes.v, 8), _mm512_srai_epi16(values.v, 8));
  return {_mm512_add_epi32(c.v, _mm512_add_epi32(even, odd))};
}
#endif
#ifdef __AVX512BF16__
struct Pairs {
  __m512i v;
};
QUENCH_INLINE Pairs as_pairs(I words) { return {words.v}; }
QUENCH_INLINE F dot_pairs(Pairs a, Pairs b, F sum) {
  return {_mm512_dpbf16_ps(sum.v, (__m512bh)a.v, (__m512bh)b.v)};
}
#endif
QUENCH_INLINE F int_to_float(I a) { return {_mm512_cvtepi32_ps(a.v)}; }

QUENCH_INLINE F load_f16(const std::uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
QUENCH_INLINE void store_f16(std::uint16_t* p, F a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
QUENCH_INLINE F load_bf16(const std::uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
QUENCH_INLINE F load_u8(const std::uint8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
QUENCH_INLINE void store_u8(std::uint8_t* p, F a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
}

QUENCH_INLINE D double_zero() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
QUENCH_INLINE D double_set1(double x) { return {_mm512_set1_pd(x), _mm512_set1_pd(x)}; }
QUENCH_INLINE D double_load(const double* p) { return {_mm512_loadu_pd(p), _mm512_loadu_pd(p + 8)}; }
QUENCH_INLINE void double_store(double* p, D a) {
  _mm512_storeu_pd(p, a.low);
  _mm512_storeu_pd(p + 8, a.high);
}
QUENCH_INLINE D widen(F a) {
  return {_mm512_cvtps_pd(_mm512_castps512_ps256(a.v)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1))};
}
QUENCH_INLINE D widen(I a) {
  return {_mm512_cvtepi32_pd(_mm512_castsi512_si256(a.v)), _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(a.v, 1))};
}
QUENCH_INLINE D double_mul(D a, D b) { return {_mm512_mul_pd(a.low, b.low), _mm512_mul_pd(a.high, b.high)}; }
QUENCH_INLINE D double_fma(D a, D b, D c) {
  return {_mm512_fmadd_pd(a.low, b.low, c.low), _mm512_fmadd_pd(a.high, b.high, c.high)};
}
QUENCH_INLINE void add_rounded(std::int64_t* p, D a) {
  _mm512_storeu_si512(p, _mm512_add_epi64(_mm512_loadu_si512(p), _mm512_cvtpd_epi64(a.low)));
  _mm512_storeu_si512(p + 8, _mm512_add_epi64(_mm512_loadu_si512(p + 8), _mm512_cvtpd_epi64(a.high)));
}

}  // namespace
}  // namespace quench::kernels::avx512
