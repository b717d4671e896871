#include "kernels/rope.h"

#include "kernels/double_math.h"

namespace quench::kernels {

RopeTable rope_table(std::int64_t head_dim, double theta, double linear_factor, std::int64_t positions) {
  const std::int64_t half = head_dim / 2;
  RopeTable table;
  table.positions = positions;
  table.head_dim = head_dim;
  table.cosines = AlignedBuffer<float>(static_cast<std::size_t>(positions * half));
  table.sines = AlignedBuffer<float>(static_cast<std::size_t>(positions * half));
  const double log_theta = exact_log(theta);
  for (std::int64_t i = 0; i < half; ++i) {
    const float power = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const float base = static_cast<float>(exact_exp(static_cast<double>(power) * log_theta));
    const float frequency = 1.0f / base / static_cast<float>(linear_factor);
    for (std::int64_t p = 0; p < positions; ++p) {
      const float angle = static_cast<float>(p) * frequency;
      const SineCosine value = exact_sine_cosine(static_cast<double>(angle));
      const std::size_t at = static_cast<std::size_t>(p * half + i);
      table.cosines[at] = static_cast<float>(value.cosine);
      table.sines[at] = static_cast<float>(value.sine);
    }
  }
  return table;
}

}  // namespace quench::kernels
