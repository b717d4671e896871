#include "coordinator/scoring/pass_at_k.h"

#include <algorithm>
#include <boost/math/distributions/beta.hpp>
#include <string>
#include <vector>

#include "schemas/error.h"

namespace quench::coordinator {
namespace {

// SplitMix64: small, seeded, the same everywhere; the standard's distributions are not.
class Generator {
 public:
  explicit Generator(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ull;
    std::uint64_t value = state_;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
    return value ^ (value >> 31);
  }
  // Uniform in [0, bound): the high half of a 128-bit product; its bias is under bound / 2^64.
  std::uint64_t below(std::uint64_t bound) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>(static_cast<Wide>(next()) * bound >> 64);
  }

 private:
  std::uint64_t state_;
};

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

Interval pass_at_k_interval(std::span<const TaskCount> tasks, std::uint32_t k, std::uint64_t seed) {
  if (tasks.empty()) throw Error(ErrorCode::bad_input, "pass@k of no tasks");
  std::vector<double> scores;
  for (const TaskCount& task : tasks) scores.push_back(pass_at_k(task, k));
  const auto [least, most] = std::minmax_element(scores.begin(), scores.end());
  if (*least == *most && (*least == 0.0 || *least == 1.0))
    return clopper_pearson(*least == 1.0 ? scores.size() : 0, scores.size());

  Generator generator(seed);
  std::vector<double> means(kBootstrapDraws);
  for (double& mean : means) {
    double sum = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) sum += scores[generator.below(scores.size())];
    mean = sum / static_cast<double>(scores.size());
  }
  std::sort(means.begin(), means.end());
  const auto rank = [&](double share) {
    return means[static_cast<std::size_t>(share * static_cast<double>(kBootstrapDraws - 1))];
  };
  return {rank(kTail), rank(1 - kTail)};
}

}  // namespace quench::coordinator
