// Scores and tests against values computed by hand, by enumeration, and against the published figures of
// arXiv 2503.07103 (tables of pass@1, McNemar against fp16).
#include <gtest/gtest.h>

#include <cmath>

#include "coordinator/scoring/paired_tests.h"
#include "coordinator/scoring/pass_at_k.h"
#include "coordinator/scoring/scoreboard.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

TEST(PassAtK, EqualsTheShareOfSubsetsWithACorrectSample) {
  for (std::uint32_t n = 1; n <= 8; ++n)
    for (std::uint32_t c = 0; c <= n; ++c)
      for (std::uint32_t k = 1; k <= n; ++k) {
        std::uint32_t subsets = 0, hits = 0;
        for (std::uint32_t mask = 0; mask < 1u << n; ++mask) {
          if (static_cast<std::uint32_t>(__builtin_popcount(mask)) != k) continue;
          ++subsets;
          if ((mask & ((1u << c) - 1)) != 0) ++hits;  // the first c samples are the correct ones
        }
        EXPECT_NEAR(pass_at_k(TaskCount{n, c}, k), static_cast<double>(hits) / subsets, 1e-12) << n << c << k;
      }
  EXPECT_THROW(pass_at_k(TaskCount{2, 1}, 3), Error);
}

TEST(PassAtK, IntervalHoldsTheScoreAndIsReproducible) {
  std::vector<TaskCount> tasks;
  for (std::uint32_t i = 0; i < 100; ++i) tasks.push_back({20, i % 21});
  const Interval first = pass_at_k_interval(tasks, 1, 7);
  const Interval second = pass_at_k_interval(tasks, 1, 7);
  EXPECT_EQ(first.low, second.low);
  EXPECT_EQ(first.high, second.high);
  const double score = pass_at_k(tasks, 1);
  EXPECT_LT(first.low, score);
  EXPECT_GT(first.high, score);
  // The normal approximation with the tasks' own spread.
  double variance = 0;
  for (const TaskCount& task : tasks) variance += std::pow(task.correct / 20.0 - score, 2);
  const double half = 1.96 * std::sqrt(variance) / 100;
  EXPECT_NEAR(first.high - first.low, 2 * half, 0.1 * half);
}

TEST(PassAtK, ClopperPearsonForAllOrNothing) {
  const std::vector<TaskCount> all(164, TaskCount{1, 1});
  EXPECT_NEAR(pass_at_k_interval(all, 1, 0).low, std::pow(0.025, 1.0 / 164), 1e-9);
  EXPECT_EQ(pass_at_k_interval(all, 1, 0).high, 1.0);
  // R: binom.test(7, 20)$conf.int
  EXPECT_NEAR(clopper_pearson(7, 20).low, 0.1539092, 1e-6);
  EXPECT_NEAR(clopper_pearson(7, 20).high, 0.5921885, 1e-6);
}

struct Published {
  std::vector<Discordance> pairs;
  std::vector<double> adjusted;
  std::vector<double> odds;
};

TEST(PairedTests, GiveThePublishedFiguresOfTheStudy) {
  const std::vector<Published> rows = {
      {{{131, 128}, {154, 132}, {274, 95}, {495, 63}},
       {.901, .286, 6.1e-21, 1.4e-83},
       {1.02, 1.17, 2.88, 7.86}},
      {{{182, 162}, {211, 163}, {300, 119}, {604, 29}},
       {.306, .020, 8.0e-19, 2.4e-140},
       {1.12, 1.29, 2.52, 20.83}},
      {{{176, 189}, {215, 196}, {321, 169}, {671, 85}},
       {.530, .500, 1.2e-11, 3.0e-113},
       {.93, 1.10, 1.90, 7.89}},
      {{{183, 199}, {189, 187}, {290, 172}, {661, 85}},
       {.590, .959, 8.9e-8, 9.2e-111},
       {.92, 1.01, 1.69, 7.78}},
  };
  for (const Published& row : rows) {
    std::vector<double> p;
    for (const Discordance& pairs : row.pairs) p.push_back(mcnemar_exact(pairs));
    const std::vector<double> adjusted = benjamini_hochberg(p);
    for (std::size_t i = 0; i < row.pairs.size(); ++i) {
      EXPECT_NEAR(odds_ratio(row.pairs[i]), row.odds[i], 0.005);
      if (row.adjusted[i] >= 0.001)
        EXPECT_NEAR(adjusted[i], row.adjusted[i], 0.0011)
            << row.pairs[i].only_a << "/" << row.pairs[i].only_b;
      else
        EXPECT_NEAR(std::log10(adjusted[i]), std::log10(row.adjusted[i]), 0.022);
    }
  }
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

TEST(Scoreboard, MissingVerdictsAreAnErrorAndNotAFailure) {
  ScoreInput input;
  input.spec.samples = 2;
  input.task_ids = {"T/0", "T/1"};
  for (std::uint32_t task : {0u, 1u})
    for (std::uint32_t sample : {0u, 1u}) {
      if (task == 1 && sample == 1) continue;
      Verdict& verdict = input.verdicts.emplace_back();
      verdict.task = task;
      verdict.sample = sample;
      verdict.result = VerdictResult::passed;
    }
  try {
    score(input);
    FAIL() << "scored with a verdict missing";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("T/1"), std::string::npos);
  }
  input.verdicts.emplace_back(input.verdicts.back()).sample = 1;
  input.verdicts.back().result = VerdictResult::timed_out;
  const EvaluationScore complete = score(input);
  EXPECT_EQ(complete.passed, 3u);
  EXPECT_DOUBLE_EQ(complete.pass_at_1, 0.75);
}

TEST(Scoreboard, ComparesEveryArtifactWithTheBaselineInOneFamily) {
  const auto artifact = [](const std::string& name, Method method, std::vector<bool> outcomes) {
    ArtifactScore one;
    one.name = name;
    one.method = method;
    one.evaluations.emplace_back().outcomes = std::move(outcomes);
    return one;
  };
  const std::vector<Comparison> comparisons =
      compare_all({artifact("a", Method::gptq, {true, false, false, true}),
                   artifact("base", Method::none, {true, true, true, false}),
                   artifact("b", Method::rtn, {false, false, false, false})});
  ASSERT_EQ(comparisons.size(), 2u);
  EXPECT_EQ(comparisons[0].a, "base");
  EXPECT_EQ(comparisons[0].b, "a");
  EXPECT_EQ(comparisons[0].pairs.only_a, 2u);
  EXPECT_EQ(comparisons[0].pairs.only_b, 1u);
  EXPECT_DOUBLE_EQ(comparisons[1].p, 0.25);
  EXPECT_DOUBLE_EQ(comparisons[1].p_adjusted, 0.5);
}

}  // namespace
}  // namespace quench::coordinator
