// Scores against values computed by hand and by enumeration.
#include <gtest/gtest.h>

#include <cmath>

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

TEST(PassAtK, IsGivenForEveryKThatTheSamplesAllow) {
  EvaluationScore evaluation;
  evaluation.spec.benchmark = "humaneval";
  evaluation.outcomes = {{"T/0", {true, false, false, false}}, {"T/1", {true, true, false, true, false}}};
  const std::vector<std::uint32_t> ks = {4, 2, 1, 2};
  score_outcomes(evaluation, ks);
  EXPECT_EQ(evaluation.tasks, 2u);
  EXPECT_EQ(evaluation.samples, 4u) << "the least";
  EXPECT_EQ(evaluation.completions, 9u);
  EXPECT_DOUBLE_EQ(evaluation.pass_at_1, (1.0 / 4 + 3.0 / 5) / 2);
  ASSERT_EQ(evaluation.pass_at.size(), 2u);
  EXPECT_EQ(evaluation.pass_at[0].k, 2u);
  // C(3,2)/C(4,2) of all pairs of T/0 are wrong, C(2,2)/C(5,2) of T/1's.
  EXPECT_NEAR(evaluation.pass_at[0].value, ((1 - 3.0 / 6) + (1 - 1.0 / 10)) / 2, 1e-12);
  EXPECT_EQ(evaluation.pass_at[1].k, 4u);
  EXPECT_DOUBLE_EQ(evaluation.pass_at[1].value, 1.0);
  for (const std::uint32_t k : {0u, 5u}) try {
      score_outcomes(evaluation, std::vector<std::uint32_t>{k});
      ADD_FAILURE() << "pass@" << k << " of 4 samples";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input);
      EXPECT_NE(std::string(error.what()).find("1 to 4"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("T/0"), std::string::npos) << error.what();
    }
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
  EXPECT_EQ(complete.confinement, (std::map<std::string, std::uint64_t>{{"namespaces, isolated", 4}}));
  EXPECT_DOUBLE_EQ(complete.pass_at_1, 0.75);
}

}  // namespace
}  // namespace quench::coordinator
