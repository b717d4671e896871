#include "worker/generate/sampler.h"

#include <algorithm>
#include <cmath>

#include "kernels/double_math.h"
#include "schemas/error.h"

namespace quench::worker {
namespace {

// The kernels' exp, not libm's, which differs between machines. What is below e^-700 cannot be drawn.
double probability_of(float log_probability) {
  return log_probability > -700.0f ? kernels::exact_exp(log_probability) : 0.0;
}

}  // namespace

void check_settings(const SamplingSettings& settings) {
  if (!std::isfinite(settings.temperature) || settings.temperature < 0)
    throw Error(ErrorCode::bad_input, "temperature " + std::to_string(settings.temperature) +
                                          ": expected a number of 0 (greedy) or more");
  if (!(settings.top_p > 0 && settings.top_p <= 1))
    throw Error(ErrorCode::bad_input,
                "top_p " + std::to_string(settings.top_p) + ": expected more than 0, at most 1");
}

std::int32_t Sampler::sample(kernels::Backend& backend, std::span<const float> logits,
                             const SamplingSettings& settings, double u) {
  const auto vocabulary = static_cast<std::int64_t>(logits.size());
  if (settings.temperature == 0.0) {
    std::int32_t best = 0;
    backend.argmax({logits.data(), 1, vocabulary}, {&best, 1});
    return best;
  }
  // Differences from the largest logit, so that a small temperature cannot overflow.
  const float largest = *std::max_element(logits.begin(), logits.end());
  scaled_.resize(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i)
    scaled_[i] = static_cast<float>(
        std::max((static_cast<double>(logits[i]) - largest) / settings.temperature, -1e30));
  const kernels::MatrixView scaled(scaled_.data(), 1, vocabulary);
  backend.log_softmax(scaled, scaled);
  return draw(scaled_, settings.top_k, settings.top_p, u);
}

std::int32_t Sampler::draw(std::span<const float> log_probabilities, std::uint32_t top_k, double top_p,
                           double u) {
  QUENCH_CHECK(!log_probabilities.empty() && u >= 0 && u < 1, log_probabilities.size(), u);
  candidates_.clear();
  double mass = 0;
  for (std::size_t i = 0; i < log_probabilities.size(); ++i) {
    const double probability = probability_of(log_probabilities[i]);
    candidates_.push_back({log_probabilities[i], static_cast<std::int32_t>(i), probability});
    mass += probability;
  }
  // A heap instead of a sort: most draws end within a few of the likeliest tokens.
  const auto less_likely = [](const Candidate& a, const Candidate& b) {
    return a.log_probability != b.log_probability ? a.log_probability < b.log_probability : a.token > b.token;
  };
  std::make_heap(candidates_.begin(), candidates_.end(), less_likely);
  // Popped candidates gather at the vector's end: the likeliest last.
  auto heap_end = candidates_.end();
  const auto popped = [&] { return static_cast<std::size_t>(candidates_.end() - heap_end); };
  const auto pop = [&]() -> const Candidate& {
    std::pop_heap(candidates_.begin(), heap_end, less_likely);
    return *--heap_end;
  };

  if (top_k > 0 && top_k < candidates_.size()) {
    mass = 0;
    while (popped() < top_k) mass += pop().probability;
  }
  const bool limited = top_k > 0 && top_k < candidates_.size();
  std::size_t kept = limited ? top_k : candidates_.size();
  if (top_p < 1) {
    double reached = 0;
    std::size_t count = 0;
    while (count < kept && (count == 0 || reached < top_p * mass)) {
      reached += count < popped() ? (candidates_.end() - 1 - static_cast<std::ptrdiff_t>(count))->probability
                                  : pop().probability;
      ++count;
    }
    kept = count;
    mass = reached;
  }
  double passed = 0;
  std::int32_t token = -1;
  for (std::size_t rank = 0; rank < kept; ++rank) {
    const Candidate& candidate =
        rank < popped() ? *(candidates_.end() - 1 - static_cast<std::ptrdiff_t>(rank)) : pop();
    // Rounding may leave u * mass just beyond the last: then the last token that can occur is taken.
    if (candidate.probability == 0 && token >= 0) break;
    token = candidate.token;
    passed += candidate.probability;
    if (passed > u * mass) break;
  }
  return token;
}

}  // namespace quench::worker
