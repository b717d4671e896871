// The paired tests against the published figures of arXiv 2503.07103 to every digit given, against intervals
// and adjustments computed elsewhere (SciPy 1.16: binomtest, false_discovery_control), against enumeration
// and against simulation.
#include "coordinator/scoring/paired_tests.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "coordinator/report/words.h"
#include "coordinator/scoring/seeded_draws.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

// One comparison of the study (exact McNemar against fp16): b/c, odds ratio and p adjusted by
// Benjamini–Hochberg over the four precisions, as printed; and the exact interval of b/c from SciPy.
struct Published {
  Discordance pairs;
  const char* odds;
  const char* adjusted;
  double low, high;
};

const std::vector<std::vector<Published>> kPublished = {
    // CodeLlama-7B, Python
    {{{131, 128}, "1.02", ".901", 0.796009, 1.316096},
     {{154, 132}, "1.17", ".286", 0.918633, 1.483377},
     {{274, 95}, "2.88", "6.1e-21", 2.275935, 3.681894},
     {{495, 63}, "7.86", "1.4e-83", 6.035659, 10.382241}},
    // CodeLlama-7B, Java
    {{{182, 162}, "1.12", ".306", 0.904085, 1.397056},
     {{211, 163}, "1.29", ".020", 1.050184, 1.597940},
     {{300, 119}, "2.52", "8.0e-19", 2.032106, 3.144282},
     {{604, 29}, "20.83", "2.4e-140", 14.352559, 31.369294}},
    // DeepSeek-Coder-6.7B, Python
    {{{176, 189}, "0.93", ".530", 0.754034, 1.149562},
     {{215, 196}, "1.10", ".500", 0.899672, 1.338089},
     {{321, 169}, "1.90", "1.2e-11", 1.571725, 2.302110},
     {{671, 85}, "7.89", "3.0e-113", 6.291732, 10.013052}},
    // DeepSeek-Coder-6.7B, Java
    {{{183, 199}, "0.92", ".590", 0.748203, 1.129735},
     {{189, 187}, "1.01", ".959", 0.821305, 1.243831},
     {{290, 172}, "1.69", "8.9e-8", 1.391414, 2.048108},
     {{661, 85}, "7.78", "9.2e-111", 6.196634, 9.865720}},
};

TEST(PairedTests, GiveThePublishedFiguresOfTheStudyToEveryDigit) {
  for (const std::vector<Published>& family : kPublished) {
    std::vector<double> p;
    for (const Published& row : family) p.push_back(mcnemar_exact(row.pairs));
    const std::vector<double> adjusted = benjamini_hochberg(p);
    for (std::size_t i = 0; i < family.size(); ++i) {
      const Published& row = family[i];
      SCOPED_TRACE(fmt::format("{}/{}", row.pairs.only_a, row.pairs.only_b));
      EXPECT_EQ(odds(odds_ratio(row.pairs)), row.odds);
      EXPECT_EQ(p_value(adjusted[i]), row.adjusted);
      EXPECT_NEAR(odds_ratio_interval(row.pairs).low, row.low, 1e-6 * row.low);
      EXPECT_NEAR(odds_ratio_interval(row.pairs).high, row.high, 1e-6 * row.high);
    }
  }
}

TEST(PairedTests, EqualSciPysExactValues) {
  // scipy.stats.binomtest(b, b + c).pvalue
  EXPECT_NEAR(mcnemar_exact({274, 95}), 3.05467e-21, 1e-26);
  EXPECT_NEAR(mcnemar_exact({211, 163}), 0.014975, 1e-6);
  EXPECT_NEAR(mcnemar_exact({183, 199}), 0.442845, 1e-6);
}

TEST(PairedTests, EdgesHaveMeaning) {
  EXPECT_EQ(mcnemar_exact({0, 0}), 1.0);
  EXPECT_EQ(mcnemar_exact({3, 3}), 1.0);
  EXPECT_NEAR(mcnemar_exact({5, 0}), 2 * std::pow(0.5, 5), 1e-15);
  EXPECT_EQ(odds_ratio({0, 0}), 1.0);
  EXPECT_TRUE(std::isinf(odds_ratio({1, 0})));
  EXPECT_TRUE(std::isinf(odds_ratio_interval({4, 0}).high));
  EXPECT_EQ(odds_ratio_interval({0, 4}).low, 0.0);
  EXPECT_EQ(benjamini_hochberg(std::vector<double>{}), std::vector<double>{});
}

TEST(PairedTests, HolmMultipliesByWhatIsLeftAndKeepsTheOrder) {
  // By hand, and as statsmodels' multipletests(method="holm") and ("fdr_bh") have it.
  const std::vector<double> p = {0.01, 0.04, 0.03, 0.005};
  const std::vector<double> any = holm(p);
  EXPECT_DOUBLE_EQ(any[3], 0.02);
  EXPECT_DOUBLE_EQ(any[0], 0.03);
  EXPECT_DOUBLE_EQ(any[2], 0.06);
  EXPECT_DOUBLE_EQ(any[1], 0.06) << "not below the one before it";
  const std::vector<double> findings = benjamini_hochberg(p);
  EXPECT_DOUBLE_EQ(findings[3], 0.02);
  EXPECT_DOUBLE_EQ(findings[0], 0.02);
  EXPECT_DOUBLE_EQ(findings[2], 0.04);
  EXPECT_DOUBLE_EQ(findings[1], 0.04);
  EXPECT_DOUBLE_EQ(holm(std::vector<double>{0.7, 0.8})[0], 1.0);
  EXPECT_EQ(holm(std::vector<double>{}), std::vector<double>{});
}

// Differences of tasks with `samples` samples each.
std::vector<TaskPair> tasks_of(std::uint32_t samples, const std::vector<int>& differences) {
  std::vector<TaskPair> tasks;
  for (const int difference : differences)
    tasks.push_back({samples, static_cast<std::uint32_t>(std::max(0, -difference)),
                     static_cast<std::uint32_t>(std::max(0, difference))});
  return tasks;
}

double enumerated(const std::vector<TaskPair>& tasks) {
  const auto difference = [](const TaskPair& task) {
    return (static_cast<double>(task.correct_b) - static_cast<double>(task.correct_a)) / task.samples;
  };
  double seen = 0;
  for (const TaskPair& task : tasks) seen += difference(task);
  std::uint32_t reached = 0;
  const std::uint32_t all = 1u << tasks.size();
  for (std::uint32_t signs = 0; signs < all; ++signs) {
    double sum = 0;
    for (std::size_t i = 0; i < tasks.size(); ++i)
      sum += (signs >> i & 1) != 0 ? difference(tasks[i]) : -difference(tasks[i]);
    reached += std::abs(sum) >= std::abs(seen) - 1e-9 ? 1 : 0;
  }
  return static_cast<double>(reached) / all;
}

TEST(PermutationByTask, EqualsTheEnumerationOfAllSigns) {
  SeededDraws draws(3);
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<TaskPair> tasks;
    const bool equal_samples = trial % 2 == 0;
    for (int i = 0; i < 10; ++i) {
      const auto samples = static_cast<std::uint32_t>(equal_samples ? 5 : 1 + draws.below(5));
      tasks.push_back({samples, static_cast<std::uint32_t>(draws.below(samples + 1)),
                       static_cast<std::uint32_t>(draws.below(samples + 1))});
    }
    const ClusteredTest test = permutation_by_task(tasks, 0);
    EXPECT_EQ(test.draws, 0u) << "exact";
    EXPECT_NEAR(test.p, enumerated(tasks), 1e-12);
  }
}

TEST(PermutationByTask, IsMcNemarWhereEveryTaskHasOneSample) {
  std::vector<int> differences(200, 0);
  for (int i = 0; i < 40; ++i) differences[static_cast<std::size_t>(i)] = i < 28 ? -1 : 1;
  const ClusteredTest test = permutation_by_task(tasks_of(1, differences), 0);
  EXPECT_EQ(test.discordant_tasks, 40u);
  EXPECT_NEAR(test.p, mcnemar_exact({28, 12}), 1e-12);
  EXPECT_EQ(permutation_by_task(tasks_of(1, {0, 0, 0}), 0).p, 1.0);
}

TEST(PermutationByTask, DrawsSignsWhereTheSumsAreTooManyAndSaysSo) {
  const std::vector<TaskPair> tasks = tasks_of(20, {-9, 4, -12, 3, -7, 1, -8, -15, 6, -2, -11, 5});
  const ClusteredTest exact = permutation_by_task(tasks, 0);
  const ClusteredTest drawn = permutation_by_task(tasks, 11, 1);
  EXPECT_EQ(exact.draws, 0u);
  EXPECT_EQ(drawn.draws, kPermutationDraws);
  const double error = std::sqrt(exact.p * (1 - exact.p) / static_cast<double>(kPermutationDraws));
  EXPECT_NEAR(drawn.p, exact.p, 5 * error);
  EXPECT_EQ(drawn.p, permutation_by_task(tasks, 11, 1).p) << "seeded";
  // No estimate of 0: the sum seen is one of the draws.
  const ClusteredTest extreme = permutation_by_task(tasks_of(1, std::vector<int>(100, -1)), 0, 1);
  EXPECT_DOUBLE_EQ(extreme.p, 1.0 / (kPermutationDraws + 1));
}

// The story of why both tests are given: twenty copies of one answer are no more evidence than one.
TEST(PermutationByTask, CopiesOfOneAnswerAreNotEvidence) {
  std::vector<int> differences(100, 0);
  for (int i = 0; i < 6; ++i) differences[static_cast<std::size_t>(i)] = i < 5 ? -20 : 20;
  const std::vector<TaskPair> tasks = tasks_of(20, differences);
  EXPECT_LT(mcnemar_exact({100, 20}), 1e-12);
  EXPECT_NEAR(permutation_by_task(tasks, 0).p, mcnemar_exact({5, 1}), 1e-12);
}

TEST(RiskDifference, IsTheDifferenceOfPassAt1AndVariesByTask) {
  const RiskDifference difference = risk_difference(tasks_of(10, {-5, 0, 3, -2, 0, -6, 1, 0, 0, -1}), 5);
  EXPECT_NEAR(difference.difference, -0.1, 1e-12);
  ASSERT_TRUE(difference.interval);
  EXPECT_LT(difference.interval->low, -0.1);
  EXPECT_GT(difference.interval->high, -0.1);
  EXPECT_FALSE(risk_difference(tasks_of(10, {0, 0, 0}), 5).interval) << "nothing varies";
  EXPECT_THROW(risk_difference({}, 0), Error);
}

TEST(DetectableEffect, OfMcNemarHasThePowerItNames) {
  const Discordance seen{30, 20};
  const std::optional<double> effect = detectable_by_mcnemar(seen, 500);
  ASSERT_TRUE(effect);
  // A true difference of `effect` at 50 discordant pairs of 500: only_a has this share of them.
  const double share = (1 + *effect * 500 / 50) / 2;
  SeededDraws draws(17);
  int found = 0;
  constexpr int kTrials = 4000;
  for (int trial = 0; trial < kTrials; ++trial) {
    Discordance pairs;
    for (int i = 0; i < 50; ++i)
      ++(static_cast<double>(draws.next() >> 11) * 0x1p-53 < share ? pairs.only_a : pairs.only_b);
    found += mcnemar_exact(pairs) <= 0.05 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(found) / kTrials, 0.8, 0.02);
  // Five discordant pairs give p = 0.0625 at best.
  EXPECT_FALSE(detectable_by_mcnemar({5, 0}, 100));
  EXPECT_TRUE(detectable_by_mcnemar({6, 0}, 100));
  EXPECT_FALSE(detectable_by_mcnemar({0, 0}, 100));
}

TEST(DetectableEffect, ByTaskHasAboutThePowerItNames) {
  // Tasks whose difference is -16, -4, 0, 4 or 16 of 40 samples, all shifted by the effect: by so many whole
  // samples, and one more as often as makes up the rest.
  constexpr std::uint32_t kTasks = 100, kSamples = 40;
  const std::vector<int> spread = {-16, -4, 0, 0, 0, 0, 0, 0, 4, 16};
  std::vector<int> pilot;
  for (std::uint32_t i = 0; i < kTasks; ++i) pilot.push_back(spread[i % spread.size()]);
  const std::optional<double> effect = detectable_by_task(tasks_of(kSamples, pilot));
  ASSERT_TRUE(effect);
  SeededDraws draws(23);
  int found = 0;
  constexpr int kTrials = 1000;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<int> differences;
    for (std::uint32_t i = 0; i < kTasks; ++i) {
      const double uniform = static_cast<double>(draws.next() >> 11) * 0x1p-53;
      differences.push_back(spread[draws.below(spread.size())] -
                            static_cast<int>(std::floor(*effect * kSamples + uniform)));
    }
    found += permutation_by_task(tasks_of(kSamples, differences), 0).p <= 0.05 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(found) / kTrials, 0.8, 0.04);
  EXPECT_FALSE(detectable_by_task(tasks_of(1, {0, 0, 0})));
}

}  // namespace
}  // namespace quench::coordinator
