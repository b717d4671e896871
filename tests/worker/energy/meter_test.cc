#include "worker/energy/meter.h"

#include "tests/worker/energy/powercap_tree.h"

namespace quench::worker {
namespace {

EnergyMeterOptions options_for(const PowercapTree& tree) {
  EnergyMeterOptions options;
  options.powercap = tree.root();
  options.nvml = "libdoes-not-exist.so.1";
  options.idle = std::chrono::milliseconds(1);
  return options;
}

TEST(EnergyMeter, GivesTheJoulesOfAPhase) {
  PowercapTree tree("meter");
  tree.add("intel-rapl:0", "package-0", 1'000'000);
  EnergyMeter meter(options_for(tree));
  EXPECT_EQ(meter.note(), "no NVML (libdoes-not-exist.so.1)");
  tree.count("intel-rapl:0", 2'000'000);
  meter.begin();
  tree.count("intel-rapl:0", 9'000'000);
  std::vector<EnergyReading> readings = meter.end();
  ASSERT_EQ(readings.size(), 1u);
  EXPECT_EQ(readings[0].counter, "rapl package-0");
  EXPECT_DOUBLE_EQ(readings[0].joules, 7);
  EXPECT_GE(readings[0].seconds, 0);
  EXPECT_EQ(readings[0].idle_watts, -1) << "not measured yet";
  meter.measure_idle();
  meter.begin();
  readings = meter.end();
  EXPECT_DOUBLE_EQ(readings.at(0).joules, 0);
  EXPECT_DOUBLE_EQ(readings.at(0).idle_watts, 0) << "the counter stood still";
}

TEST(EnergyMeter, WatchesForWrapsBetweenReadings) {
  PowercapTree tree("watch");
  tree.add("intel-rapl:0", "package-0", 0, 10'000'000);
  EnergyMeterOptions options = options_for(tree);
  options.every = std::chrono::milliseconds(1);
  EnergyMeter meter(options);
  meter.begin();
  // Each step is seen by the watcher alone; unseen, two wraps would look like a small step.
  double joules = 0;
  for (const std::uint64_t value : {8'000'000u, 6'000'000u, 4'000'000u}) {
    tree.count("intel-rapl:0", value);
    joules += 8;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (meter.end().at(0).joules < joules - 0.5 && std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
  }
  EXPECT_DOUBLE_EQ(meter.end().at(0).joules, 24);
}

TEST(EnergyMeter, HasNothingToSayWhereNothingCounts) {
  PowercapTree tree("nothing");
  EnergyMeter meter(options_for(tree));
  meter.measure_idle();
  meter.begin();
  EXPECT_TRUE(meter.end().empty());
  EXPECT_NE(meter.note().find("no RAPL zones"), std::string::npos);
  EXPECT_NE(meter.note().find("no NVML"), std::string::npos);
}

TEST(EnergyMeter, LeavesOutACounterThatFailsAndNamesIt) {
  PowercapTree tree("fails");
  tree.add("intel-rapl:0", "package-0", 0);
  tree.add("intel-rapl:1", "package-1", 0);
  EnergyMeter meter(options_for(tree));
  meter.begin();
  tree.count("intel-rapl:0", 1'000'000);
  std::filesystem::remove(tree.root() / "intel-rapl:1" / "energy_uj");
  const std::vector<EnergyReading> readings = meter.end();
  ASSERT_EQ(readings.size(), 1u);
  EXPECT_EQ(readings[0].counter, "rapl package-0");
  EXPECT_NE(meter.note().find("intel-rapl:1"), std::string::npos);
}

}  // namespace
}  // namespace quench::worker
