#include "worker/energy/nvml.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace quench::worker {
namespace {

class Nvml : public testing::Test {
 protected:
  void SetUp() override { ::setenv("QUENCH_FAKE_NVML_GPUS", "3", 1); }
  void TearDown() override {
    for (const char* name : {"QUENCH_FAKE_NVML_GPUS", "QUENCH_FAKE_NVML_OLD", "QUENCH_FAKE_NVML_BROKEN"})
      ::unsetenv(name);
  }
};

TEST_F(Nvml, CountsEveryGpuByItsUuid) {
  const EnergyCounters found = nvml_counters(QUENCH_FAKE_NVML, std::nullopt);
  EXPECT_EQ(found.note, "");
  ASSERT_EQ(found.counters.size(), 3u);
  EXPECT_EQ(found.counters[1]->name(), "nvml GPU-1000");
  const double before = found.counters[1]->joules();
  EXPECT_DOUBLE_EQ(found.counters[1]->joules() - before, 2) << "the fake counts 2000 mJ at a time";
}

TEST_F(Nvml, TakesOnlyTheGpusOfThisProcess) {
  const EnergyCounters numbered = nvml_counters(QUENCH_FAKE_NVML, "2,0");
  ASSERT_EQ(numbered.counters.size(), 2u);
  EXPECT_EQ(numbered.counters[1]->name(), "nvml GPU-2000");
  const EnergyCounters named = nvml_counters(QUENCH_FAKE_NVML, "GPU-10");
  ASSERT_EQ(named.counters.size(), 1u);
  EXPECT_EQ(named.counters[0]->name(), "nvml GPU-1000");
  const EnergyCounters none = nvml_counters(QUENCH_FAKE_NVML, "");
  EXPECT_TRUE(none.counters.empty());
  EXPECT_NE(none.note.find("no GPU is visible"), std::string::npos);
}

TEST_F(Nvml, NamesGpusWithoutACounter) {
  ::setenv("QUENCH_FAKE_NVML_OLD", "1", 1);
  const EnergyCounters found = nvml_counters(QUENCH_FAKE_NVML, std::nullopt);
  EXPECT_EQ(found.counters.size(), 2u);
  EXPECT_EQ(found.note, "nvml GPU-1000: Not Supported");
}

TEST_F(Nvml, SaysWhyThereIsNone) {
  EXPECT_NE(nvml_counters("libdoes-not-exist.so.1", std::nullopt).note.find("libdoes-not-exist"),
            std::string::npos);
  ::setenv("QUENCH_FAKE_NVML_BROKEN", "1", 1);
  const EnergyCounters broken = nvml_counters(QUENCH_FAKE_NVML, std::nullopt);
  EXPECT_TRUE(broken.counters.empty());
  EXPECT_EQ(broken.note, "NVML: Driver Not Loaded");
  // A library of that name that is another one.
  EXPECT_NE(nvml_counters("libm.so.6", std::nullopt).note.find("too old"), std::string::npos);
}

TEST_F(Nvml, TellsMemoryAndPowerOfTheGpusOfThisProcess) {
  ::setenv("QUENCH_FAKE_NVML_OLD", "2", 1);
  NvmlGpus gpus(QUENCH_FAKE_NVML, "1,2");
  const std::vector<GpuStatus> now = gpus.read();
  ASSERT_EQ(now.size(), 2u);
  EXPECT_EQ(now[0], (GpuStatus{"Fake GPU 1", 2000, 80'000, 250.5}));
  EXPECT_EQ(now[1], (GpuStatus{"Fake GPU 2", 3000, 80'000, -1})) << "it has no meter";
  EXPECT_TRUE(NvmlGpus("libdoes-not-exist.so.1", std::nullopt).read().empty());
}

}  // namespace
}  // namespace quench::worker
