// exp, log, sin and cos in double, ours: the same bits on every machine, which libm does not promise.
// Relative error below 4e-16 (exp, log away from 1) and absolute error below 3e-16 (sin, cos) on the ranges
// given.
#pragma once

namespace quench::kernels {

// |x| <= 700.
double exact_exp(double x) noexcept;
// x > 0 and normal.
double exact_log(double x) noexcept;
struct SineCosine {
  double sine;
  double cosine;
};
// |x| <= 1e8.
SineCosine exact_sine_cosine(double x) noexcept;

}  // namespace quench::kernels
