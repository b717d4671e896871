#include "coordinator/scoring/paired_tests.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <limits>
#include <numeric>

namespace quench::coordinator {

double mcnemar_exact(const Discordance& pairs) {
  const std::uint64_t total = pairs.only_a + pairs.only_b;
  if (total == 0) return 1.0;
  const boost::math::binomial_distribution<> distribution(static_cast<double>(total), 0.5);
  const double tail = cdf(distribution, static_cast<double>(std::min(pairs.only_a, pairs.only_b)));
  return std::min(1.0, 2.0 * tail);
}

double odds_ratio(const Discordance& pairs) {
  if (pairs.only_b == 0) return pairs.only_a == 0 ? 1.0 : std::numeric_limits<double>::infinity();
  return static_cast<double>(pairs.only_a) / static_cast<double>(pairs.only_b);
}

Interval odds_ratio_interval(const Discordance& pairs) {
  const Interval share = clopper_pearson(pairs.only_a, pairs.only_a + pairs.only_b);
  const auto odds = [](double p) { return p >= 1.0 ? std::numeric_limits<double>::infinity() : p / (1 - p); };
  return {odds(share.low), odds(share.high)};
}

std::vector<double> benjamini_hochberg(std::span<const double> p_values) {
  std::vector<std::size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return p_values[a] > p_values[b]; });
  std::vector<double> adjusted(p_values.size());
  const auto count = static_cast<double>(p_values.size());
  double least = 1.0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const double rank = count - static_cast<double>(i);
    least = std::min(least, p_values[order[i]] * count / rank);
    adjusted[order[i]] = least;
  }
  return adjusted;
}

}  // namespace quench::coordinator
