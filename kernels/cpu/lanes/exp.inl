// exp of sixteen lanes; our own, so that no libm decides a bit. Included after a lanes.h.

namespace quench::kernels::QUENCH_ISA {
namespace {

// exp(x) = 2^n e^r with n = round(x / ln 2) and |r| <= ln 2 / 2; e^r = 1 + r + r^2 P(r), P the Chebyshev
// fit of degree 5 (error 1.4e-9). Below -87.33 (the smallest normal number) it is 0; above 88.37 it is
// exp(88.37). Relative error below 1.5e-7 in between.
QUENCH_INLINE F exp_lanes(F x) {
  const F round_to_whole = set1(12582912.0f);  // 1.5 * 2^23: adding it leaves round(x) in the low bits
  const F low = set1(-87.33f);
  const F clamped = minimum(maximum(x, low), set1(88.37f));
  const F shifted = fma(clamped, set1(1.44269504f), round_to_whole);
  const F n = sub(shifted, round_to_whole);
  F r = fnma(n, set1(0.693359375f), clamped);  // 9 bits of ln 2: n times it is exact
  r = fnma(n, set1(-2.12194440e-4f), r);
  F p = set1(1.989108e-4f);
  p = fma(p, r, set1(1.3933731e-3f));
  p = fma(p, r, set1(8.3333105e-3f));
  p = fma(p, r, set1(4.1666463e-2f));
  p = fma(p, r, set1(1.6666667e-1f));
  p = fma(p, r, set1(0.5f));
  const F e = add(fma(mul(r, r), p, r), set1(1.0f));
  // The low bits of `shifted` are n; moved to the exponent, everything above them falls off.
  const F value = as_float(int_add(as_int(e), shift_left<23>(as_int(shifted))));
  return select_gt(low, x, zero(), value);
}

// One fixed tree for every sum over lanes.
QUENCH_INLINE float sum_lanes(F a) {
  float t[16];
  store(t, a);
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) t[i] += t[i + width];
  }
  return t[0];
}

QUENCH_INLINE float max_lanes(F a) {
  float t[16];
  store(t, a);
  float m = t[0];
  for (int i = 1; i < 16; ++i) m = t[i] > m ? t[i] : m;
  return m;
}

}  // namespace
}  // namespace quench::kernels::QUENCH_ISA
