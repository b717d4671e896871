// Scalars as the CPU's lanes have them (cpu/lanes/*.inl, weight_panels.cc, double_math.cc): the same operations
// in the same order, so the same bits. Needs IEEE rounding, subnormals kept, and no contraction by the compiler
// (-fmad=false).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

#include "kernels/cuda/group.h"
#include "kernels/formats.h"

namespace quench::kernels::cuda {

QUENCH_DEVICE float fused(float a, float b, float c) { return fmaf(a, b, c); }
QUENCH_DEVICE double fused(double a, double b, double c) { return fma(a, b, c); }

QUENCH_DEVICE std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  memcpy(&bits, &value, 4);
  return bits;
}
QUENCH_DEVICE float float_of(std::uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

// As x86 has them: the second operand when either is NaN or both are zero.
QUENCH_DEVICE float minimum(float a, float b) { return a < b ? a : b; }
QUENCH_DEVICE float maximum(float a, float b) { return a > b ? a : b; }

QUENCH_DEVICE float half_to_float(std::uint16_t half) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(half));
#else
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t magnitude = half & 0x7fffu;
  if (magnitude < 0x400u) {
    const float value = static_cast<float>(magnitude) * 5.9604644775390625e-8f;
    return sign != 0 ? -value : value;
  }
  return float_of(sign | ((magnitude << 13) + (magnitude >= 0x7c00u ? 0x70000000u : 0x38000000u)));
#endif
}

QUENCH_DEVICE std::uint16_t float_to_half(float value) {
  const std::uint32_t bits = bits_of(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u)
    return static_cast<std::uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u)
    return static_cast<std::uint16_t>(sign | (bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u));
  return static_cast<std::uint16_t>(sign |
                                    ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13));
}

QUENCH_DEVICE float brain_to_float(std::uint16_t half) {
  return float_of(static_cast<std::uint32_t>(half) << 16);
}

// exp.inl.
QUENCH_DEVICE float exp_value(float x) {
  const float low = -87.33f;
  const float clamped = minimum(maximum(x, low), 88.37f);
  const float shifted = fused(clamped, 1.44269504f, 12582912.0f);
  const float n = shifted - 12582912.0f;
  float r = fused(-n, 0.693359375f, clamped);
  r = fused(-n, -2.12194440e-4f, r);
  float p = 1.989108e-4f;
  p = fused(p, r, 1.3933731e-3f);
  p = fused(p, r, 8.3333105e-3f);
  p = fused(p, r, 4.1666463e-2f);
  p = fused(p, r, 1.6666667e-1f);
  p = fused(p, r, 0.5f);
  const float e = fused(r * r, p, r) + 1.0f;
  const float value = float_of(bits_of(e) + (bits_of(shifted) << 23));
  return low > x ? 0.0f : value;
}

// The fixed tree of sixteen partial sums.
QUENCH_DEVICE float sum_sixteen(const float* partial) {
  float t[16];
  QUENCH_UNROLL
  for (int i = 0; i < 16; ++i) t[i] = partial[i];
  QUENCH_UNROLL
  for (int width = 8; width > 0; width /= 2) {
    QUENCH_UNROLL
    for (int i = 0; i < 8; ++i) {
      if (i < width) t[i] += t[i + width];
    }
  }
  return t[0];
}

// double_math.cc's exact_log.
QUENCH_DEVICE double log_value(double x) {
  std::uint64_t bits;
  memcpy(&bits, &x, 8);
  std::int64_t exponent = static_cast<std::int64_t>(bits >> 52) - 1023;
  bits = (bits & 0x000fffffffffffffu) | 0x3ff0000000000000u;
  double m;
  memcpy(&m, &bits, 8);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  const double f = (m - 1.0) / (m + 1.0);
  const double square = f * f;
  double sum = 0.0;
  for (int i = 21; i >= 3; i -= 2) sum = fused(sum, square, 1.0 / i);
  const double series = 2.0 * fused(f * square, sum, f);
  const double e = static_cast<double>(exponent);
  return fused(e, 0x1.62e42fefa39efp-1, fused(e, 0x1.abc9e3b39803fp-56, series));
}

// 2^exponent, exponent within the normal doubles.
QUENCH_DEVICE double power_of_two(std::int64_t exponent) {
  const std::uint64_t bits = static_cast<std::uint64_t>(exponent + 1023) << 52;
  double value;
  memcpy(&value, &bits, 8);
  return value;
}

// 2^-exponent as a float, -126 <= exponent <= 129.
QUENCH_DEVICE float inverse_power(std::int32_t exponent) {
  return float_of(exponent <= 126 ? static_cast<std::uint32_t>(127 - exponent) << 23 : 1u << (149 - exponent));
}

// To the nearest integer, ties to even.
QUENCH_DEVICE std::int64_t nearest_integer(double value) {
#if defined(__CUDA_ARCH__)
  return __double2ll_rn(value);
#else
  return llrint(value);
#endif
}

// round(x), ties to even, for |x| < 2^22.
QUENCH_DEVICE float round_level(float x) { return (x + 12582912.0f) - 12582912.0f; }

// grid.inl: code - zero for w / scale.
QUENCH_DEVICE float nearest_level(float ratio, float grid_zero, float code_max) {
  return round_level(minimum(maximum(ratio, 0.0f - grid_zero), code_max - grid_zero));
}

// Smallest e >= -126 with value < 2^e, for value >= 0.
QUENCH_DEVICE std::int32_t exponent_above(float value) {
  const std::int32_t exponent = static_cast<std::int32_t>(bits_of(value) >> 23) - 126;
  return exponent > -126 ? exponent : -126;
}

}  // namespace quench::kernels::cuda
