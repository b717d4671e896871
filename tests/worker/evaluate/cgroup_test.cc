// How the files of control groups are read and what follows from them, on texts and folders made here.
#include "worker/evaluate/sandbox/cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <fstream>

#include "schemas/error.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kMount[] = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

TEST(ControlGroup, IsFoundByWhatProcSays) {
  EXPECT_THAT(own_groups("0::/user.slice/quench.scope\n", kMount), ElementsAre("/sys/fs/cgroup/user.slice/quench.scope"));
  EXPECT_THAT(own_groups("0::/\n", kMount), ElementsAre("/sys/fs/cgroup"));
  // Version 1 beside version 2; a mount of a part, whose place has a space in it; one that this process is not in.
  EXPECT_THAT(own_groups("8:pids:/other\n4:memory:/\n0::/jobs/7/step\n",
                         "31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                         "32 24 0:28 /jobs/7 /run/my\\040groups rw - cgroup2 none rw\n"
                         "33 24 0:28 /jobs/70 /run/other rw - cgroup2 none rw\n"),
              ElementsAre("/run/my groups/step"));
}

TEST(ControlGroup, IsNotFoundWhereThereIsNone) {
  EXPECT_THAT(own_groups("4:memory:/\n1:name=systemd:/\n", kMount), IsEmpty());
  EXPECT_THAT(own_groups("0::/a\n", "31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"), IsEmpty());
  EXPECT_THAT(own_groups("0::/../../elsewhere\n", kMount), IsEmpty()) << "outside of this cgroup namespace";
  EXPECT_THAT(own_groups("", ""), IsEmpty());
  EXPECT_THAT(own_groups("0::/a\n", "31 24 0:27 / - cgroup2\nshort - cgroup2 x\n\n"), IsEmpty());
}

class ControlGroupFolder : public testing::Test {
 protected:
  ControlGroupFolder() {
    std::string name = (fs::path(testing::TempDir()) / "groups-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    write("cgroup.type", "domain\n");
    write("cgroup.controllers", "cpuset cpu io memory pids\n");
    write("cgroup.subtree_control", "");
    write("cgroup.procs", "17\n4\n");
  }
  ~ControlGroupFolder() override { fs::remove_all(folder_); }
  void write(const char* name, const std::string& text) const { std::ofstream(folder_ / name) << text; }
  // As systemd does; a file system without such attributes cannot stand in for a delegated group.
  bool mark() const { return ::setxattr(folder_.c_str(), "user.delegate", "1", 1, 0) == 0; }

  fs::path folder_;
};

TEST_F(ControlGroupFolder, IsReadAsTheKernelWritesIt) {
  const GroupFacts facts = read_group(folder_);
  EXPECT_EQ(facts.folder, folder_);
  EXPECT_TRUE(facts.bounds_memory_and_processes);
  EXPECT_THAT(facts.processes, ElementsAre(17, 4));
  write("cgroup.controllers", "cpu memory_pids pids\n");
  EXPECT_FALSE(read_group(folder_).bounds_memory_and_processes);
  EXPECT_FALSE(read_group(folder_ / "nowhere").delegated);
}

TEST_F(ControlGroupFolder, IsOursOnlyWhenMarkedAndDivisible) {
  if (::geteuid() == 0) {
    EXPECT_FALSE(read_group(folder_).delegated) << "root may write to every group";
  }
  if (!mark()) GTEST_SKIP() << folder_ << " takes no attributes";
  EXPECT_TRUE(read_group(folder_).delegated);
  write("cgroup.type", "threaded\n");
  EXPECT_FALSE(read_group(folder_).delegated);
  fs::remove(folder_ / "cgroup.type");
  EXPECT_FALSE(read_group(folder_).delegated) << "the root of all groups";
  write("cgroup.type", "domain\n");
  fs::create_directory(folder_ / "init.scope");
  EXPECT_FALSE(read_group(folder_).delegated) << "a systemd's own";
}

TEST_F(ControlGroupFolder, IsNotMistakenForOneThatBounds) {
  try {
    const SandboxGroup group(folder_, SandboxLimits{});
    FAIL() << "made a group in a folder that is none";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::failed);
    EXPECT_THAT(error.what(), HasSubstr("/memory.max: No such file or directory"));
  }
  for (const auto& entry : fs::directory_iterator(folder_)) EXPECT_FALSE(entry.is_directory()) << entry.path();
}

GroupFacts group(const char* folder, bool delegated, std::vector<pid_t> processes) {
  return {folder, delegated, true, std::move(processes)};
}

TEST(ControlGroup, IsDividedWhereItWasDelegated) {
  // All that runs there moves to a leaf.
  GroupDecision made = decide(group("/g/job", true, {5, 9}), group("/g", false, {}));
  EXPECT_EQ(made.parent, "/g/job");
  EXPECT_THAT(made.to_leaf, ElementsAre(5, 9));
  // In a leaf of it already.
  made = decide(group("/g/job/quench", false, {3, 5, 9}), group("/g/job", true, {}));
  EXPECT_EQ(made.parent, "/g/job");
  EXPECT_THAT(made.to_leaf, IsEmpty());
}

TEST(ControlGroup, IsLeftAloneWhereItIsSomebodyElses) {
  const auto why_not = [](const GroupFacts& own, const GroupFacts& above) {
    const GroupDecision made = decide(own, above);
    EXPECT_EQ(made.parent, "");
    EXPECT_THAT(made.to_leaf, IsEmpty());
    return made.why_not;
  };
  EXPECT_EQ(why_not(group("/g/job", false, {9}), group("/g", false, {})), "/g/job is not delegated to this process");
  EXPECT_EQ(why_not(group("/g/job", false, {9}), group("/g", true, {1})), "/g/job is not delegated to this process");
  EXPECT_EQ(why_not(group("/g/job", true, {9, 0}), group("/g", false, {})),
            "processes that cannot be seen from here are in /g/job too");
  GroupFacts without = group("/g/job", true, {});
  without.bounds_memory_and_processes = false;
  EXPECT_EQ(why_not(without, group("/g", false, {})), "/g/job has no controllers for memory and pids to give");
  EXPECT_EQ(why_not(group("/g/job/quench", false, {9}), without), "/g/job has no controllers for memory and pids to give");
}

}  // namespace
}  // namespace quench::worker
