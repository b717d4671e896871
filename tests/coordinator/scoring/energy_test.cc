// From readings of ranks to what a phase took.
#include "coordinator/scoring/energy.h"

#include <gtest/gtest.h>

namespace quench::coordinator {
namespace {

PhaseUsage usage(const std::string& host, std::uint32_t rank, double seconds,
                 std::vector<EnergyReading> energy = {}) {
  PhaseUsage one;
  one.host = host;
  one.rank = rank;
  one.attempt = 1;
  one.seconds = seconds;
  one.energy = std::move(energy);
  return one;
}

TEST(EnergyTotals, ACounterOfAHostIsTakenOnce) {
  // Two ranks of one host read the same processor; each has its own GPU.
  const PhaseTotals totals =
      total(std::vector{usage("n1", 0, 10, {{"rapl package-0", 1000, 10, 20}, {"nvml GPU-a", 300, 10, 5}}),
                        usage("n1", 1, 12, {{"rapl package-0", 1200, 12, 20}, {"nvml GPU-b", 400, 12, 5}}),
                        usage("n2", 2, 11, {{"rapl package-0", 900, 11, 30}})});
  EXPECT_DOUBLE_EQ(totals.seconds, 12) << "of the slowest rank";
  ASSERT_TRUE(totals.energy);
  EXPECT_DOUBLE_EQ(totals.energy->joules, 1200 + 300 + 400 + 900);
  ASSERT_TRUE(totals.energy->idle_joules);
  EXPECT_DOUBLE_EQ(*totals.energy->idle_joules, 20 * 12 + 5 * 10 + 5 * 12 + 30 * 11);
  EXPECT_EQ(totals.energy->counters, (std::vector<std::string>{"n1 nvml GPU-a", "n1 nvml GPU-b",
                                                               "n1 rapl package-0", "n2 rapl package-0"}));
  EXPECT_EQ(totals.energy_note, "");
}

TEST(EnergyTotals, AttemptsAddUp) {
  std::vector<PhaseUsage> both = {usage("n1", 0, 10, {{"rapl package-0", 1000, 10, -1}}),
                                  usage("n1", 0, 4, {{"rapl package-0", 500, 4, 20}})};
  both[1].attempt = 2;
  const PhaseTotals totals = total(both);
  EXPECT_DOUBLE_EQ(totals.seconds, 14);
  EXPECT_DOUBLE_EQ(totals.energy->joules, 1500);
  EXPECT_FALSE(totals.energy->idle_joules) << "not measured in one of them";
}

TEST(EnergyTotals, WhatWasNotMeasuredStaysAbsent) {
  std::vector<PhaseUsage> ranks = {usage("n1", 0, 10)};
  ranks[0].energy_note = "no RAPL zones in /sys/class/powercap";
  PhaseTotals totals = total(ranks);
  EXPECT_FALSE(totals.energy);
  EXPECT_EQ(totals.energy_note, "n1: no RAPL zones in /sys/class/powercap");
  ranks.push_back(usage("n2", 1, 10, {{"rapl package-0", 50, 10, 1}}));
  totals = total(ranks);
  EXPECT_DOUBLE_EQ(totals.energy->joules, 50);
  EXPECT_NE(totals.energy_note.find("only 1 of 2 hosts"), std::string::npos);
  EXPECT_FALSE(total({}).energy);
  EXPECT_NE(total({}).energy_note, "");
}

TEST(EnergyTotals, MemoryIsOfTheLargestProcess) {
  std::vector<PhaseUsage> ranks = {usage("n1", 0, 1), usage("n1", 1, 1)};
  ranks[0].weight_bytes = 100;
  ranks[0].resident_peak_bytes = 1000;
  ranks[1].resident_peak_bytes = 1500;
  EXPECT_EQ(total(ranks).weight_bytes, 100u) << "a rank without a lease loads nothing";
  EXPECT_EQ(total(ranks).resident_peak_bytes, 1500u);
}

TEST(Carbon, IsEnergyTimesAFactorWithItsSource) {
  EXPECT_DOUBLE_EQ(carbon_grams(3.6e6, {400, ""}), 400) << "a kilowatt-hour";
  EXPECT_GT(default_carbon_factor().grams_per_kwh, 0);
  EXPECT_NE(default_carbon_factor().source.find("2023"), std::string::npos) << "says of when it is";
}

}  // namespace
}  // namespace quench::coordinator
