// The generator against its published vectors, the sampler against its definition and its distribution.
#include "worker/generate/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "schemas/error.h"
#include "tests/worker/model/model_fixtures.h"
#include "worker/generate/random_stream.h"

namespace quench::worker {
namespace {

// Random123's known answers for philox4x32-10.
TEST(Philox, HasThePublishedVectors) {
  using Words = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox4x32({ones, ones, ones, ones}, {ones, ones}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, DependsOnEveryPartOfItsKey) {
  std::set<double> seen;
  for (const std::uint64_t seed : {0ull, 1ull, 1ull << 32})
    for (std::uint32_t task = 0; task < 3; ++task)
      for (std::uint32_t sample = 0; sample < 3; ++sample)
        for (std::uint32_t step = 0; step < 3; ++step) seen.insert(uniform({seed, task, sample}, step));
  EXPECT_EQ(seen.size(), 81u);
  EXPECT_LT(*seen.rbegin(), 1.0);
  EXPECT_GE(*seen.begin(), 0.0);
}

std::vector<float> log_of(const std::vector<double>& probabilities) {
  std::vector<float> logs;
  for (const double p : probabilities) logs.push_back(static_cast<float>(std::log(p)));
  return logs;
}

// The tokens that draws over a fine comb of u give, with their shares.
std::map<std::int32_t, double> shares(const std::vector<float>& logs, std::uint32_t top_k, double top_p) {
  Sampler sampler;
  std::map<std::int32_t, double> result;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i)
    result[sampler.draw(logs, top_k, top_p, (i + 0.5) / kDraws)] += 1.0 / kDraws;
  return result;
}

void expect_shares(const std::map<std::int32_t, double>& found,
                   const std::map<std::int32_t, double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [token, share] : expected) {
    ASSERT_TRUE(found.contains(token)) << token;
    EXPECT_NEAR(found.at(token), share, 2e-4) << token;
  }
}

TEST(Sampler, DrawsTheWholeDistribution) {
  expect_shares(shares(log_of({0.1, 0.4, 0.2, 0.3}), 0, 1.0), {{0, 0.1}, {1, 0.4}, {2, 0.2}, {3, 0.3}});
}

TEST(Sampler, TopKKeepsTheLikeliest) {
  expect_shares(shares(log_of({0.1, 0.4, 0.2, 0.3}), 2, 1.0), {{1, 4.0 / 7}, {3, 3.0 / 7}});
  expect_shares(shares(log_of({0.1, 0.4, 0.2, 0.3}), 1, 1.0), {{1, 1.0}});
  expect_shares(shares(log_of({0.5, 0.5}), 9, 1.0), {{0, 0.5}, {1, 0.5}});
}

// The smallest set that reaches p: the token that crosses it is in, the next is not.
TEST(Sampler, TopPKeepsTheSmallestSetThatReachesIt) {
  const std::vector<float> logs = log_of({0.125, 0.5, 0.25, 0.125});
  expect_shares(shares(logs, 0, 0.49), {{1, 1.0}});
  expect_shares(shares(logs, 0, 0.51), {{1, 2.0 / 3}, {2, 1.0 / 3}});
  expect_shares(shares(logs, 0, 0.74), {{1, 2.0 / 3}, {2, 1.0 / 3}});
  // The tie between 0 and 3 goes to the lower id.
  expect_shares(shares(logs, 0, 0.76), {{1, 4.0 / 7}, {2, 2.0 / 7}, {0, 1.0 / 7}});
  expect_shares(shares(logs, 0, 1e-9), {{1, 1.0}});
}

TEST(Sampler, TopPCountsWithinWhatTopKKept) {
  // Of the best two, 0.4 and 0.3, the first is 0.571 of what is left.
  const std::vector<float> logs = log_of({0.1, 0.4, 0.2, 0.3});
  expect_shares(shares(logs, 2, 0.57), {{1, 1.0}});
  expect_shares(shares(logs, 2, 0.58), {{1, 4.0 / 7}, {3, 3.0 / 7}});
  expect_shares(shares(logs, 3, 0.44), {{1, 1.0}});
}

TEST(Sampler, TiesGoByTokenId) {
  const std::vector<float> equal(6, std::log(1.0f / 6));
  expect_shares(shares(equal, 2, 1.0), {{0, 0.5}, {1, 0.5}});
  expect_shares(shares(equal, 0, 0.49), {{0, 1.0 / 3}, {1, 1.0 / 3}, {2, 1.0 / 3}});
}

TEST(Sampler, NeverDrawsWhatCannotOccur) {
  std::vector<float> logs = log_of({0.5, 0.5, 1.0});
  logs[2] = -1e30f;
  for (const double u : {0.0, 0.25, 0.9999999999999999, 0x1p-53}) {
    Sampler sampler;
    EXPECT_NE(sampler.draw(logs, 0, 1.0, u), 2) << u;
  }
}

class SamplerBackend : public testing::TestWithParam<std::string_view> {};

TEST_P(SamplerBackend, TemperatureZeroIsTheLowestArgMax) {
  const auto backend = test::backend_of(GetParam());
  Sampler sampler;
  std::vector<float> logits(100, -3.0f);
  logits[41] = logits[17] = logits[99] = 2.5f;
  EXPECT_EQ(sampler.sample(*backend, logits, {}, 0.999), 17);
}

TEST_P(SamplerBackend, SmallTemperaturesApproachTheArgMax) {
  const auto backend = test::backend_of(GetParam());
  Sampler sampler;
  const std::vector<float> logits = {1.0f, 3.0f, 2.9f, -50.0f};
  for (const double temperature : {1e-3, 1e-30, 1e-300})
    EXPECT_EQ(sampler.sample(*backend, logits, {.temperature = temperature}, 0.999), 1) << temperature;
}

// Chi-square of 40,000 keyed draws against softmax(logits / T); the seed is fixed, so this never flickers. 49
// degrees of freedom: beyond 85.4 once in a thousand.
TEST_P(SamplerBackend, FollowsTheSoftmaxAtItsTemperature) {
  const auto backend = test::backend_of(GetParam());
  for (const double temperature : {0.7, 1.0, 1.8}) {
    std::vector<float> logits(50);
    for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>((i * 37) % 50) / 16.0f;
    double mass = 0;
    for (const float logit : logits) mass += std::exp(logit / temperature);
    std::vector<int> counts(logits.size());
    Sampler sampler;
    constexpr int kDraws = 40000;
    for (int i = 0; i < kDraws; ++i) {
      const double u = uniform({.seed = 11, .task = 5, .sample = static_cast<std::uint32_t>(i / 200)},
                               static_cast<std::uint32_t>(i % 200));
      ++counts[static_cast<std::size_t>(sampler.sample(*backend, logits, {.temperature = temperature}, u))];
    }
    double chi_square = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const double expected = kDraws * std::exp(logits[i] / temperature) / mass;
      chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    EXPECT_LT(chi_square, 85.4) << temperature;
    EXPECT_GT(chi_square, 20.0) << "too even to be random";
  }
}

TEST_P(SamplerBackend, DrawsWhatScalarDraws) {
  const auto backend = test::backend_of(GetParam());
  const auto scalar = test::backend_of("scalar");
  Sampler sampler;
  for (std::uint32_t i = 0; i < 300; ++i) {
    std::vector<float> logits(531);
    for (std::size_t t = 0; t < logits.size(); ++t)
      logits[t] = static_cast<float>(8 * uniform({.seed = 3, .task = i}, static_cast<std::uint32_t>(t)));
    const SamplingSettings settings{.temperature = 0.9, .top_k = i % 3 * 20, .top_p = 0.9};
    const double u = uniform({.seed = 4}, i);
    EXPECT_EQ(sampler.sample(*backend, logits, settings, u), sampler.sample(*scalar, logits, settings, u));
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, SamplerBackend,
                         testing::ValuesIn(kernels::runnable_isas().begin(), kernels::runnable_isas().end()),
                         [](const auto& test) { return std::string(test.param); });

TEST(SamplingSettings, RefusesWhatMakesNoSense) {
  EXPECT_NO_THROW(check_settings({.temperature = 0.2, .top_k = 50, .top_p = 0.95}));
  for (const double temperature : {-0.1, std::nan(""), std::numeric_limits<double>::infinity()})
    EXPECT_THROW(check_settings({.temperature = temperature}), Error) << temperature;
  for (const double top_p : {0.0, -1.0, 1.01, std::nan("")})
    EXPECT_THROW(check_settings({.top_p = top_p}), Error) << top_p;
}

}  // namespace
}  // namespace quench::worker
