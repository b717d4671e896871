// The grid of a group of columns for sixteen rows (gptq.h has the formulas). Included by gptq.inl.

namespace quench::kernels::QUENCH_ISA {
namespace {

constexpr std::int64_t kPanelWidthMax = 128;
constexpr float kLargestFloat = 3.402823466e38f;
constexpr float kSmallestScale = 5.9604644775390625e-8f;  // 2^-24, the smallest fp16 above zero
constexpr float kLargestScale = 65504.0f;

// round(x), ties to even, for |x| < 2^22.
QUENCH_INLINE F round_lanes(F x) {
  const F magic = set1(12582912.0f);
  return sub(add(x, magic), magic);
}

// code - zero for w / scale: clamped first, which gives the same as clamping after rounding because the
// bounds are whole, and keeps the rounding in its range.
QUENCH_INLINE F nearest_level(F ratio, F grid_zero, F code_max) {
  const F low = sub(zero(), grid_zero);
  const F high = sub(code_max, grid_zero);
  return round_lanes(minimum(maximum(ratio, low), high));
}

struct Fit { F scale, zero; };

// `shrink` times the range, as a scale that fp16 holds exactly, and its zero.
QUENCH_INLINE Fit fit_range(F low, F high, F shrink, GridSpec grid) {
  const float code_max = static_cast<float>((1 << grid.bits) - 1);
  const float middle = static_cast<float>(1 << (grid.bits - 1));
  F span = sub(mul(high, shrink), mul(low, shrink));
  float steps = code_max;
  if (grid.kind == GridKind::absmax) {
    span = mul(high, shrink);
    steps = middle - 1.0f;
  }
  F scale = div(span, set1(steps));
  scale = select_gt(span, zero(), scale, set1(1.0f));
  scale = minimum(maximum(scale, set1(kSmallestScale)), set1(kLargestScale));
  std::uint16_t bits[16];
  store_f16(bits, scale);
  scale = load_f16(bits);
  F grid_zero = set1(middle);
  if (grid.kind == GridKind::asymmetric) {
    const F ratio = div(sub(zero(), mul(low, shrink)), scale);
    grid_zero = round_lanes(minimum(maximum(ratio, zero()), set1(code_max)));
  }
  return {scale, grid_zero};
}

QUENCH_INLINE F squared_error(const GridColumns& c, Fit fit, F code_max) {
  const F inverse = div(set1(1.0f), fit.scale);
  F sum = zero();
  for (std::int64_t k = c.begin; k < c.end; ++k) {
    const F value = load(c.current + k * c.stride);
    const F rounded = mul(nearest_level(mul(value, inverse), fit.zero, code_max), fit.scale);
    const F miss = sub(value, rounded);
    sum = fma(miss, miss, sum);
  }
  return sum;
}

void fit_grid(const GridColumns& c) {
  F low = zero(), high = zero();
  for (std::int64_t k = c.begin; k < c.end; ++k) {
    const F value = load(c.current + k * c.stride);
    low = minimum(value, low);
    high = maximum(value, high);
  }
  if (c.grid.kind != GridKind::asymmetric) {
    high = maximum(sub(zero(), low), high);
    low = sub(zero(), high);
  }
  Fit best = fit_range(low, high, set1(1.0f), c.grid);
  if (c.grid.rule == ScaleRule::search) {
    const F code_max = set1(static_cast<float>((1 << c.grid.bits) - 1));
    F least = squared_error(c, best, code_max);
    for (int percent = 99; percent >= 20; --percent) {
      const F shrink = set1(static_cast<float>(percent) / 100.0f);
      const Fit fit = fit_range(low, high, shrink, c.grid);
      const F error = squared_error(c, fit, code_max);
      best.scale = select_gt(least, error, fit.scale, best.scale);
      best.zero = select_gt(least, error, fit.zero, best.zero);
      least = minimum(error, least);
    }
  }
  store_f16(c.scale_bits, best.scale);
  store(c.scale, best.scale);
  store(c.zero, best.zero);
}

}  // namespace
}  // namespace quench::kernels::QUENCH_ISA
