#include "kernels/hessian.h"

#include <algorithm>
#include <cmath>

namespace quench::kernels {

int sum_shift(std::int64_t tokens) noexcept {
  int log2_up = 0;
  while ((std::int64_t{1} << log2_up) < tokens) ++log2_up;
  return 62 - log2_up;
}

double sum_to_double(std::int64_t sum, std::int32_t exponent_i, std::int32_t exponent_j,
                     std::int64_t tokens) noexcept {
  return std::ldexp(static_cast<double>(sum), exponent_i + exponent_j - sum_shift(tokens)) /
         static_cast<double>(tokens);
}

void hessian_diagonal(const TrianglePanels& layout, const std::int64_t* const* sums, const SumScale& scale,
                      std::span<double> out) noexcept {
  for (std::int64_t c = 0; c < layout.columns; ++c) {
    const std::int64_t panel = c / layout.width;
    const std::size_t at = static_cast<std::size_t>(c);
    const std::int32_t e = scale.exponents[at];
    out[at] = sum_to_double(sums[panel][layout.index(panel, c, c)], e, e, scale.tokens);
  }
}

double damping(std::span<const double> diagonal, double fraction) noexcept {
  double sum = 0.0;
  for (const double value : diagonal) sum += value;
  return diagonal.empty() ? 0.0 : fraction * (sum / static_cast<double>(diagonal.size()));
}

std::vector<std::int32_t> activation_order(std::span<const double> diagonal) {
  std::vector<std::int32_t> order(diagonal.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return diagonal[static_cast<std::size_t>(a)] > diagonal[static_cast<std::size_t>(b)];
  });
  return order;
}

std::vector<std::int32_t> factor_order(std::span<const std::int32_t> processing, std::int64_t columns) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(columns));
  for (std::int64_t a = 0; a < columns; ++a) {
    const std::int64_t k = columns - 1 - a;
    order[static_cast<std::size_t>(a)] =
        processing.empty() ? static_cast<std::int32_t>(k) : processing[static_cast<std::size_t>(k)];
  }
  return order;
}

}  // namespace quench::kernels
