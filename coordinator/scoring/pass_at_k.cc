#include "coordinator/scoring/pass_at_k.h"

#include <algorithm>
#include <boost/math/distributions/beta.hpp>
#include <string>
#include <vector>

#include "coordinator/scoring/seeded_draws.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

constexpr double kTail = 0.025;

}  // namespace

double pass_at_k(const TaskCount& task, std::uint32_t k) {
  if (k < 1 || k > task.samples || task.correct > task.samples)
    throw Error(ErrorCode::bad_input, "pass@" + std::to_string(k) + " needs at least " + std::to_string(k) +
                                          " samples of every task; one has " + std::to_string(task.samples));
  const std::uint32_t wrong = task.samples - task.correct;
  if (wrong < k) return 1.0;
  double all_wrong = 1.0;
  for (std::uint32_t i = 0; i < k; ++i)
    all_wrong *= static_cast<double>(wrong - i) / static_cast<double>(task.samples - i);
  return 1.0 - all_wrong;
}

double pass_at_k(std::span<const TaskCount> tasks, std::uint32_t k) {
  if (tasks.empty()) throw Error(ErrorCode::bad_input, "pass@k of no tasks");
  double sum = 0;
  for (const TaskCount& task : tasks) sum += pass_at_k(task, k);
  return sum / static_cast<double>(tasks.size());
}

Interval clopper_pearson(std::uint64_t successes, std::uint64_t trials) {
  using boost::math::beta_distribution;
  const auto s = static_cast<double>(successes);
  const auto n = static_cast<double>(trials);
  Interval interval{0, 1};
  if (successes > 0) interval.low = quantile(beta_distribution<>(s, n - s + 1), kTail);
  if (successes < trials) interval.high = quantile(beta_distribution<>(s + 1, n - s), 1 - kTail);
  return interval;
}

Interval bootstrap_mean(std::span<const double> values, std::uint64_t seed) {
  if (values.empty()) throw Error(ErrorCode::bad_input, "an interval of no tasks");
  SeededDraws draws(seed);
  std::vector<double> means(kBootstrapDraws);
  for (double& mean : means) {
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum += values[draws.below(values.size())];
    mean = sum / static_cast<double>(values.size());
  }
  std::sort(means.begin(), means.end());
  const auto rank = [&](double share) {
    return means[static_cast<std::size_t>(share * static_cast<double>(kBootstrapDraws - 1))];
  };
  return {rank(kTail), rank(1 - kTail)};
}

Interval pass_at_k_interval(std::span<const TaskCount> tasks, std::uint32_t k, std::uint64_t seed) {
  if (tasks.empty()) throw Error(ErrorCode::bad_input, "pass@k of no tasks");
  std::vector<double> scores;
  for (const TaskCount& task : tasks) scores.push_back(pass_at_k(task, k));
  const auto [least, most] = std::minmax_element(scores.begin(), scores.end());
  if (*least == *most && (*least == 0.0 || *least == 1.0))
    return clopper_pearson(*least == 1.0 ? scores.size() : 0, scores.size());

  return bootstrap_mean(scores, seed);
}

}  // namespace quench::coordinator
