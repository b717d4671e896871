// Does one artifact solve what another does not? Tests on pairs of completions of equal (task, sample).
// The study's test is the exact McNemar test on the pooled pairs; it takes the samples of one task for
// independent, which they are not, so it is given beside a test that keeps each task whole. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "coordinator/scoring/pass_at_k.h"

namespace quench::coordinator {

// Discordant pairs: only A passed, only B passed.
struct Discordance {
  std::uint64_t only_a = 0;
  std::uint64_t only_b = 0;
};

// p = min(1, 2 · P(X ≤ min(b, c))), X binomial(b + c, ½). 1 when nothing is discordant.
double mcnemar_exact(const Discordance& pairs);
// only_a / only_b. Infinity when only_b is 0 and only_a is not; 1 when both are 0.
double odds_ratio(const Discordance& pairs);
// Exact 95 % interval of the odds ratio from the Clopper–Pearson interval of b / (b + c).
Interval odds_ratio_interval(const Discordance& pairs);

// One task of both artifacts: how many of its paired samples each solved.
struct TaskPair {
  std::uint32_t samples = 0;
  std::uint32_t correct_a = 0;
  std::uint32_t correct_b = 0;
};

// pass@1 of B minus pass@1 of A, each the mean over tasks; 95 % interval from a bootstrap of whole tasks.
// When every task differs by the same amount no resampling can vary and the interval is absent.
struct RiskDifference {
  double difference = 0;
  std::optional<Interval> interval;
};
RiskDifference risk_difference(std::span<const TaskPair> tasks, std::uint64_t seed);

// Sign-flip permutation test of the same difference: were A and B exchangeable, each task's difference could
// as well have the other sign. p = P(|sum of signed differences| ≥ |the sum seen|).
struct ClusteredTest {
  double p = 1;
  std::uint32_t discordant_tasks = 0;  // whose two scores differ; no others can change the sum
  // 0: exact, over all 2^discordant_tasks assignments of signs. Otherwise so many seeded random ones were
  // drawn, r of them reached the sum seen, and p = (r + 1) / (draws + 1).
  std::uint64_t draws = 0;
};
// Exact wherever the sums can be enumerated as integers: always when all tasks have equally many samples.
// `exact_steps_max` bounds that work (tasks × distinct sums).
inline constexpr std::uint64_t kExactStepsMax = 100'000'000;
inline constexpr std::uint64_t kPermutationDraws = 100'000;
ClusteredTest permutation_by_task(std::span<const TaskPair> tasks, std::uint64_t seed,
                                  std::uint64_t exact_steps_max = kExactStepsMax);

// The smallest true difference in pass@1 that the test finds (p ≤ 0.05, two-sided) with probability 0.8.
// For McNemar: given the number of discordant pairs seen, exact. Absent when so few pairs are discordant
// that no outcome would be significant.
std::optional<double> detectable_by_mcnemar(const Discordance& pairs, std::uint64_t pairs_in_all);
// For the test by task: (z₀.₉₇₅ + z₀.₈) · s / √tasks, with s the standard deviation of the tasks' differences
// as seen. Absent when they do not vary.
std::optional<double> detectable_by_task(std::span<const TaskPair> tasks);

// p-values adjusted within one family of tests, in the order given: Benjamini–Hochberg holds the share of
// false findings, Holm the chance of any.
std::vector<double> benjamini_hochberg(std::span<const double> p_values);
std::vector<double> holm(std::span<const double> p_values);

}  // namespace quench::coordinator
