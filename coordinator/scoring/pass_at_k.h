// pass@k by the unbiased estimator of 2107.03374 (1 − C(n−c, k) / C(n, k), averaged over tasks), and
// its interval from a bootstrap that draws whole tasks, because the samples of one task are not
// independent. Pure functions.
#pragma once

#include <cstdint>
#include <span>

namespace quench::coordinator {

// One task: `correct` of `samples` completions passed.
struct TaskCount {
  std::uint32_t samples = 0;
  std::uint32_t correct = 0;
};

struct Interval {
  double low = 0;
  double high = 0;
};

// For one task. Throws Error(bad_input) unless 1 ≤ k ≤ samples and correct ≤ samples.
double pass_at_k(const TaskCount& task, std::uint32_t k);
// Mean over tasks. Throws Error(bad_input) without tasks.
double pass_at_k(std::span<const TaskCount> tasks, std::uint32_t k);

// The 2.5 and 97.5 percentiles of the mean of `values`, one per task, over `kBootstrapDraws` resamplings of
// whole tasks. Seeded, so that the same verdicts give the same interval. Throws Error(bad_input) without
// values.
inline constexpr std::uint32_t kBootstrapDraws = 10'000;
Interval bootstrap_mean(std::span<const double> values, std::uint64_t seed);

// That interval of pass@k. When all tasks score 0 or all score 1 no resampling can vary: then the exact
// binomial (Clopper–Pearson) interval for so many tasks is given, which is never empty.
Interval pass_at_k_interval(std::span<const TaskCount> tasks, std::uint32_t k, std::uint64_t seed);

// Exact 95 % interval of a binomial proportion.
Interval clopper_pearson(std::uint64_t successes, std::uint64_t trials);

}  // namespace quench::coordinator
