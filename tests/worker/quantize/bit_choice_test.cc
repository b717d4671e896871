#include "worker/quantize/bit_choice.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "schemas/bit_budget.h"
#include "schemas/error.h"

namespace quench::worker {
namespace {

using Linears = std::vector<std::vector<PricedChoice>>;

// Sizes and losses as linears have them: a bit more costs bytes and takes three quarters of the loss.
Linears random_linears(std::mt19937& random, std::size_t count, std::size_t choices) {
  Linears linears(count);
  for (auto& linear : linears) {
    const std::uint64_t weights = 1000 + random() % 100'000;
    double loss = 1e-3 * static_cast<double>(1 + random() % 1000);
    for (std::size_t c = 0; c < choices; ++c) {
      linear.push_back({static_cast<std::uint32_t>(c + 2), 64, weights * (c + 2) / 8 + random() % 100, loss});
      loss *= 0.15 + 0.2 * static_cast<double>(random() % 100) / 100;
    }
  }
  return linears;
}

std::uint64_t bytes_of(const Linears& linears, const std::vector<std::size_t>& chosen) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < linears.size(); ++i) bytes += linears[i][chosen[i]].bytes;
  return bytes;
}

double loss_of(const Linears& linears, const std::vector<std::size_t>& chosen) {
  double loss = 0;
  for (std::size_t i = 0; i < linears.size(); ++i) loss += linears[i][chosen[i]].loss;
  return loss;
}

// All combinations.
double smallest_loss(const Linears& linears, std::uint64_t bytes_max) {
  std::vector<std::size_t> chosen(linears.size(), 0);
  double best = std::numeric_limits<double>::infinity();
  for (;;) {
    if (bytes_of(linears, chosen) <= bytes_max) best = std::min(best, loss_of(linears, chosen));
    std::size_t i = 0;
    while (i < chosen.size() && ++chosen[i] == linears[i].size()) chosen[i++] = 0;
    if (i == chosen.size()) return best;
  }
}

TEST(BitChoice, IsTheBestOfAllCombinations) {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    const Linears linears = random_linears(random, 6, 4);
    std::uint64_t low = 0, high = 0;
    for (const auto& linear : linears) low += linear.front().bytes, high += linear.back().bytes;
    const std::uint64_t budget = low + random() % (high - low + 1);
    const std::vector<std::size_t> chosen = cheapest_choices(linears, budget);
    EXPECT_LE(bytes_of(linears, chosen), budget);
    EXPECT_LE(loss_of(linears, chosen), smallest_loss(linears, budget) * (1 + 1e-4));
    EXPECT_EQ(cheapest_choices(linears, budget), chosen);
  }
}

// As many linears as a 34B model has, where sizes are rounded.
TEST(BitChoice, HoldsALargeBudgetAndUsesIt) {
  std::mt19937 random(8);
  Linears linears = random_linears(random, 336, 12);
  for (auto& linear : linears)
    for (PricedChoice& choice : linear) choice.bytes *= 1000;
  std::uint64_t low = 0, high = 0;
  for (const auto& linear : linears) low += linear.front().bytes, high += linear.back().bytes;
  for (const std::uint64_t budget : {low, low + 1, low + (high - low) / 3, high - 1, high, 2 * high}) {
    const std::uint64_t bytes = bytes_of(linears, cheapest_choices(linears, budget));
    EXPECT_LE(bytes, budget);
    if (budget > low + 1 && budget < high) {
      EXPECT_GT(bytes, budget - (high - low) / 500) << "little is left over";
    }
  }
  EXPECT_EQ(bytes_of(linears, cheapest_choices(linears, high)), high) << "everything fits";
}

TEST(BitChoice, RefusesABudgetThatNothingFits) {
  std::mt19937 random(9);
  const Linears linears = random_linears(random, 5, 3);
  std::uint64_t low = 0;
  for (const auto& linear : linears) low += linear.front().bytes;
  EXPECT_EQ(bytes_of(linears, cheapest_choices(linears, low)), low);
  try {
    cheapest_choices(linears, low - 1);
    FAIL() << "something was chosen";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_NE(std::string(error.what()).find("give the budget more"), std::string::npos);
  }
}

TEST(BitChoice, ChoicesFitTheLinear) {
  LinearShape linear;
  linear.outputs = 64;
  linear.inputs = 96;
  for (const auto& [bits, group_size] : budget_choices(linear)) EXPECT_LT(group_size, 96);
  EXPECT_EQ(budget_choices(linear).size(), 8u);
  linear.inputs = 32;
  EXPECT_EQ(budget_choices(linear),
            (std::vector<std::pair<std::uint32_t, std::int32_t>>{{2, -1}, {3, -1}, {4, -1}, {8, -1}}));
}

}  // namespace
}  // namespace quench::worker
