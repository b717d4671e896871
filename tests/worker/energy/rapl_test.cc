#include "worker/energy/rapl.h"

#include <unistd.h>

#include "schemas/error.h"
#include "tests/worker/energy/powercap_tree.h"

namespace quench::worker {
namespace {

TEST(Rapl, CountsPackagesAndTheirMemoryAndNothingTwice) {
  PowercapTree tree("zones");
  tree.add("intel-rapl:0", "package-0", 1'000'000);
  tree.add("intel-rapl:0:0", "core", 5);
  tree.add("intel-rapl:0:1", "uncore", 5);
  tree.add("intel-rapl:0:2", "dram", 7'000'000);
  tree.add("intel-rapl:1", "package-1", 2'000'000);
  tree.add("intel-rapl:2", "psys", 9'000'000);
  tree.add("intel-rapl-mmio:0", "package-0", 1'000'000);
  EnergyCounters found = rapl_counters(tree.root());
  EXPECT_EQ(found.note, "");
  ASSERT_EQ(found.counters.size(), 3u);
  EXPECT_EQ(found.counters[0]->name(), "rapl package-0");
  EXPECT_EQ(found.counters[1]->name(), "rapl package-0 dram");
  EXPECT_EQ(found.counters[2]->name(), "rapl package-1");
  EXPECT_DOUBLE_EQ(found.counters[0]->joules(), 0);
  tree.count("intel-rapl:0", 3'500'000);
  tree.count("intel-rapl:0:2", 7'250'000);
  EXPECT_DOUBLE_EQ(found.counters[0]->joules(), 2.5);
  EXPECT_DOUBLE_EQ(found.counters[1]->joules(), 0.25);
  EXPECT_DOUBLE_EQ(found.counters[2]->joules(), 0);
}

TEST(Rapl, GoesOnWhenTheCounterWraps) {
  PowercapTree tree("wrap");
  tree.add("intel-rapl:0", "package-0", 262'000'000'000);
  EnergyCounters found = rapl_counters(tree.root());
  ASSERT_EQ(found.counters.size(), 1u);
  tree.count("intel-rapl:0", 856'671'150);  // 143'328'850 to the end, and so many more
  EXPECT_DOUBLE_EQ(found.counters[0]->joules(), 1000);
  tree.count("intel-rapl:0", 1'856'671'150);
  EXPECT_DOUBLE_EQ(found.counters[0]->joules(), 2000);
}

TEST(Rapl, SaysWhyThereIsNone) {
  PowercapTree empty("empty");
  EXPECT_TRUE(rapl_counters(empty.root()).counters.empty());
  EXPECT_NE(rapl_counters(empty.root()).note.find("no RAPL zones in"), std::string::npos);
  EXPECT_NE(rapl_counters("/does/not/exist").note.find("/does/not/exist"), std::string::npos);

  PowercapTree odd("odd");
  odd.add("intel-rapl:0", "package-0", 1);
  odd.write("intel-rapl:0", "energy_uj", "many\n");
  const EnergyCounters found = rapl_counters(odd.root());
  EXPECT_TRUE(found.counters.empty());
  EXPECT_NE(found.note.find("energy_uj holds \"many\""), std::string::npos) << found.note;
}

// As on most systems, where energy_uj belongs to root with mode 0400.
TEST(Rapl, NamesTheFileThatMayNotBeRead) {
  PowercapTree tree("denied");
  tree.add("intel-rapl:0", "package-0", 1);
  std::filesystem::permissions(tree.root() / "intel-rapl:0" / "energy_uj", std::filesystem::perms::none);
  if (::geteuid() == 0) {
    // Root may read everything: a folder in the file's place gives another refusal of the kernel's.
    std::filesystem::remove(tree.root() / "intel-rapl:0" / "energy_uj");
    std::filesystem::create_directory(tree.root() / "intel-rapl:0" / "energy_uj");
  }
  const EnergyCounters found = rapl_counters(tree.root());
  EXPECT_TRUE(found.counters.empty());
  EXPECT_NE(found.note.find("intel-rapl:0/energy_uj: "), std::string::npos) << found.note;
  EXPECT_TRUE(found.note.find("denied") != std::string::npos ||
              found.note.find("directory") != std::string::npos)
      << found.note;
}

TEST(Rapl, ACounterThatVanishesIsAnErrorAndNoNumber) {
  PowercapTree tree("vanishes");
  tree.add("intel-rapl:0", "package-0", 1);
  const EnergyCounters found = rapl_counters(tree.root());
  ASSERT_EQ(found.counters.size(), 1u);
  std::filesystem::remove(tree.root() / "intel-rapl:0" / "energy_uj");
  EXPECT_THROW(found.counters[0]->joules(), Error);
}

}  // namespace
}  // namespace quench::worker
