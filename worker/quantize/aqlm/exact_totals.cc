#include "worker/quantize/aqlm/exact_totals.h"

#include <algorithm>
#include <cmath>

namespace quench::worker {
namespace {

// Below any exponent of a double.
constexpr std::int32_t kNoExponent = -100'000;

template <typename Add>
std::vector<double> totals(cluster::Collective& gang, const kernels::AdditiveView& shape, double own_largest,
                           std::int64_t total_rows, const std::string& label, const Add& add) {
  const double unit =
      shared_unit(gang, own_largest, static_cast<double>(total_rows) * static_cast<double>(shape.groups()), label);
  std::vector<std::int64_t> sums(static_cast<std::size_t>(shape.values()), 0);
  add(kernels::EntrySums{sums.data(), unit});
  if (gang.world() > 1) gang.all_reduce_sum(sums, label);
  std::vector<double> result(sums.size());
  for (std::size_t i = 0; i < sums.size(); ++i) result[i] = static_cast<double>(sums[i]) / unit;
  return result;
}

}  // namespace

double shared_unit(cluster::Collective& gang, double own_largest, double count, const std::string& label) {
  int exponent = kNoExponent;
  if (own_largest > 0) std::frexp(own_largest, &exponent);
  std::int32_t shared = exponent;
  if (gang.world() > 1) gang.all_reduce_max(std::span(&shared, 1), "exponent " + label);
  if (shared == kNoExponent) return 1.0;
  int count_bits = 0;
  std::frexp(std::max(count, 1.0), &count_bits);
  return std::ldexp(1.0, 62 - count_bits - shared);
}

double exact_total(cluster::Collective& gang, std::span<const double> own, const std::string& label) {
  double largest = 0;
  for (const double value : own) largest = std::max(largest, std::fabs(value));
  const double unit = shared_unit(gang, largest, 4294967296.0, label);
  std::int64_t sum = 0;
  for (const double value : own) sum += std::llrint(value * unit);
  if (gang.world() > 1) gang.all_reduce_sum(std::span(&sum, 1), label);
  return static_cast<double>(sum) / unit;
}

std::vector<double> entry_totals(kernels::Codebooks& kernels, cluster::Collective& gang, const kernels::AdditiveView& shape,
                                 kernels::ConstMatrixView y, std::span<const float> factors, std::int64_t total_rows,
                                 const std::string& label) {
  const double largest = shape.rows == 0 ? 0.0 : static_cast<double>(kernels.largest(y, factors.data()));
  return totals(gang, shape, largest, total_rows, label, [&](const kernels::EntrySums& out) {
    if (shape.rows > 0) kernels.add_to_entries(shape, y, factors.data(), out);
  });
}

std::vector<double> diagonal_totals(kernels::Codebooks& kernels, cluster::Collective& gang,
                                    const kernels::AdditiveView& shape, std::span<const float> diagonal,
                                    std::span<const float> factors, std::int64_t total_rows, const std::string& label) {
  float most_diagonal = 0, most_factor = 0;
  for (const float value : diagonal) most_diagonal = std::max(most_diagonal, std::fabs(value));
  for (const float value : factors) most_factor = std::max(most_factor, std::fabs(value));
  return totals(gang, shape, static_cast<double>(most_diagonal) * most_factor, total_rows, label,
                [&](const kernels::EntrySums& out) {
                  if (shape.rows > 0) kernels.add_diagonal(shape, diagonal.data(), factors.data(), out);
                });
}

}  // namespace quench::worker
