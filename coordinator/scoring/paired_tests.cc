#include "coordinator/scoring/paired_tests.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "coordinator/scoring/seeded_draws.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

using Binomial = boost::math::binomial_distribution<>;

constexpr double kAlpha = 0.05;
constexpr double kPower = 0.8;
// Distinct sums of the exact permutation test: 32 MB of chances.
constexpr std::uint64_t kExactSumsMax = 4'000'000;

std::vector<double> differences(std::span<const TaskPair> tasks) {
  std::vector<double> all;
  for (const TaskPair& task : tasks) {
    if (task.samples == 0 || task.correct_a > task.samples || task.correct_b > task.samples)
      throw Error(ErrorCode::bad_input, "a task without paired samples cannot be compared");
    all.push_back((static_cast<double>(task.correct_b) - static_cast<double>(task.correct_a)) /
                  static_cast<double>(task.samples));
  }
  return all;
}

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

bool all_equal(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [&](double value) { return value == values.front(); });
}

// The differences that are not 0, as whole numbers with one common denominator. Nothing when that
// denominator makes them too large to enumerate.
std::optional<std::vector<std::int64_t>> whole_differences(std::span<const TaskPair> tasks,
                                                           std::int64_t denominator_max) {
  std::int64_t denominator = 1;
  for (const TaskPair& task : tasks) {
    if (task.correct_a == task.correct_b) continue;
    denominator = std::lcm(denominator, static_cast<std::int64_t>(task.samples));
    if (denominator > denominator_max) return std::nullopt;
  }
  std::vector<std::int64_t> whole;
  for (const TaskPair& task : tasks)
    if (task.correct_a != task.correct_b)
      whole.push_back(
          (static_cast<std::int64_t>(task.correct_b) - static_cast<std::int64_t>(task.correct_a)) *
          (denominator / static_cast<std::int64_t>(task.samples)));
  return whole;
}

// P(|Σ ±dᵢ| ≥ |Σ dᵢ|) over all signs. Σ ±|dᵢ| = 2U − T with T = Σ |dᵢ| and U the sum of a random subset,
// whose distribution is built one task at a time.
double exact_tail(const std::vector<std::int64_t>& differences, std::size_t total) {
  std::vector<double> chance(total + 1, 0.0);
  chance[0] = 1.0;
  std::size_t reached = 0;
  std::int64_t seen = 0;
  for (const std::int64_t difference : differences) {
    const auto weight = static_cast<std::size_t>(std::abs(difference));
    reached += weight;
    seen += difference;
    for (std::size_t sum = reached + 1; sum-- > 0;)
      chance[sum] = 0.5 * chance[sum] + (sum >= weight ? 0.5 * chance[sum - weight] : 0.0);
  }
  double tail = 0;
  for (std::size_t sum = 0; sum <= total; ++sum)
    if (std::abs(2 * static_cast<std::int64_t>(sum) - static_cast<std::int64_t>(total)) >= std::abs(seen))
      tail += chance[sum];
  return std::min(1.0, tail);
}

double drawn_tail(const std::vector<double>& differences, std::uint64_t seed) {
  double seen = 0, total = 0;
  for (const double difference : differences) {
    seen += difference;
    total += std::abs(difference);
  }
  // Sums that are equal but for rounding count as reached: the test errs towards a larger p.
  const double threshold = std::abs(seen) - 1e-12 * total;
  SeededDraws draws(seed);
  std::uint64_t reached = 0;
  for (std::uint64_t draw = 0; draw < kPermutationDraws; ++draw) {
    double sum = 0;
    std::uint64_t signs = 0;
    for (std::size_t i = 0; i < differences.size(); ++i) {
      if (i % 64 == 0) signs = draws.next();
      sum += (signs & 1) != 0 ? differences[i] : -differences[i];
      signs >>= 1;
    }
    reached += std::abs(sum) >= threshold ? 1 : 0;
  }
  return static_cast<double>(reached + 1) / static_cast<double>(kPermutationDraws + 1);
}

// Adjusted p-values in the order given: `factor(rank)` multiplies the p-value of that rank (1 is the least),
// and a running bound keeps the order.
template <typename Factor>
std::vector<double> adjust(std::span<const double> p_values, bool from_largest, Factor factor) {
  std::vector<std::size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return p_values[a] < p_values[b]; });
  std::vector<double> adjusted(p_values.size());
  double bound = from_largest ? 1.0 : 0.0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::size_t rank = from_largest ? order.size() - i : i + 1;
    const double scaled = std::min(1.0, p_values[order[rank - 1]] * factor(static_cast<double>(rank)));
    bound = from_largest ? std::min(bound, scaled) : std::max(bound, scaled);
    adjusted[order[rank - 1]] = bound;
  }
  return adjusted;
}

}  // namespace

double mcnemar_exact(const Discordance& pairs) {
  const std::uint64_t total = pairs.only_a + pairs.only_b;
  if (total == 0) return 1.0;
  const Binomial distribution(static_cast<double>(total), 0.5);
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

RiskDifference risk_difference(std::span<const TaskPair> tasks, std::uint64_t seed) {
  const std::vector<double> all = differences(tasks);
  if (all.empty()) throw Error(ErrorCode::bad_input, "no tasks to compare");
  RiskDifference result{mean(all), std::nullopt};
  if (!all_equal(all)) result.interval = bootstrap_mean(all, seed);
  return result;
}

ClusteredTest permutation_by_task(std::span<const TaskPair> tasks, std::uint64_t seed,
                                  std::uint64_t exact_steps_max) {
  std::vector<double> discordant;
  for (const double difference : differences(tasks))
    if (difference != 0) discordant.push_back(difference);
  ClusteredTest result;
  result.discordant_tasks = static_cast<std::uint32_t>(discordant.size());
  if (discordant.empty()) return result;
  if (const auto whole = whole_differences(tasks, static_cast<std::int64_t>(exact_steps_max))) {
    std::uint64_t total = 0;
    for (const std::int64_t difference : *whole) total += static_cast<std::uint64_t>(std::abs(difference));
    if (total <= exact_steps_max / discordant.size() && total <= kExactSumsMax) {
      result.p = exact_tail(*whole, static_cast<std::size_t>(total));
      return result;
    }
  }
  result.p = drawn_tail(discordant, seed);
  result.draws = kPermutationDraws;
  return result;
}

std::optional<double> detectable_by_mcnemar(const Discordance& pairs, std::uint64_t pairs_in_all) {
  const std::uint64_t discordant = pairs.only_a + pairs.only_b;
  const auto count = static_cast<double>(discordant);
  // The most that the rarer kind may count in a significant outcome.
  std::optional<double> critical;
  const Binomial equal(count, 0.5);
  for (std::uint64_t few = 0; 2 * few < discordant; ++few) {
    if (2 * cdf(equal, static_cast<double>(few)) > kAlpha) break;
    critical = static_cast<double>(few);
  }
  if (!critical || pairs_in_all == 0) return std::nullopt;
  const auto power = [&](double share) {
    const Binomial skewed(count, share);
    return cdf(skewed, *critical) + cdf(complement(skewed, count - *critical - 1));
  };
  double low = 0.5, high = 1.0;
  for (int step = 0; step < 60; ++step) {
    const double middle = (low + high) / 2;
    (power(middle) < kPower ? low : high) = middle;
  }
  return (2 * high - 1) * count / static_cast<double>(pairs_in_all);
}

std::optional<double> detectable_by_task(std::span<const TaskPair> tasks) {
  const std::vector<double> all = differences(tasks);
  if (all.size() < 2 || all_equal(all)) return std::nullopt;
  const double center = mean(all);
  double squares = 0;
  for (const double difference : all) squares += (difference - center) * (difference - center);
  const auto count = static_cast<double>(all.size());
  const boost::math::normal_distribution<> normal;
  return (quantile(normal, 1 - kAlpha / 2) + quantile(normal, kPower)) *
         std::sqrt(squares / (count - 1) / count);
}

std::vector<double> benjamini_hochberg(std::span<const double> p_values) {
  const auto count = static_cast<double>(p_values.size());
  return adjust(p_values, true, [count](double rank) { return count / rank; });
}

std::vector<double> holm(std::span<const double> p_values) {
  const auto count = static_cast<double>(p_values.size());
  return adjust(p_values, false, [count](double rank) { return count - rank + 1; });
}

}  // namespace quench::coordinator
