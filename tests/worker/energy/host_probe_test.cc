#include "worker/energy/host_probe.h"

#include "tests/worker/energy/powercap_tree.h"

namespace quench::worker {
namespace {

TEST(HostProbe, TellsTheMeanPowerSinceItWasAskedLast) {
  PowercapTree tree("power");
  tree.add("intel-rapl:0", "package-0", 1'000'000);
  EnergyMeterOptions options;
  options.powercap = tree.root();
  options.nvml = "libdoes-not-exist.so.1";
  HostProbe probe(options);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(probe.read().watts, -1) << "there is no time to take a mean of";
  tree.count("intel-rapl:0", 3'000'000);
  const WorkerStatus status = probe.read();
  const std::chrono::duration<double> most = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(status.watts, 2 / most.count());
  EXPECT_TRUE(status.gpus.empty());
  EXPECT_EQ(status.energy_note, "");
}

TEST(HostProbe, SaysWhyThereIsNoPower) {
  EnergyMeterOptions options;
  options.powercap = "/does/not/exist";
  options.nvml = "libdoes-not-exist.so.1";
  HostProbe probe(options);
  probe.read();
  EXPECT_EQ(probe.read().watts, -1);
  EXPECT_NE(probe.read().energy_note.find("/does/not/exist"), std::string::npos);
}

}  // namespace
}  // namespace quench::worker
