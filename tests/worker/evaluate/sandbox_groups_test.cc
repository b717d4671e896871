// Sandboxes in control groups, where this process may make some: what the kernel bounds then, and that nothing of it stays.
// Elsewhere a visible skip, or a failure with QUENCH_REQUIRE_CGROUP=1 (tests/README.md: how to get such a place).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "tests/worker/evaluate/grading.h"
#include "worker/evaluate/sandbox/cgroup.h"
#include "worker/evaluate/sandbox/probe.h"
#include "worker/evaluate/sandbox/sandbox.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr char kRight[] = "def double(x):\n    return x + x\n";
constexpr char kTakes60MiB[] = "block = bytearray(b'x') * (60 << 20)\ndef double(x):\n    return x + x\n";
constexpr char kStarts12Processes[] =
    "import os, time\n"
    "started = 0\n"
    "try:\n"
    "    for _ in range(12):\n"
    "        if os.fork() == 0:\n"
    "            time.sleep(60)\n"
    "        started += 1\n"
    "except OSError:\n"
    "    pass\n"
    "assert started == 12, started\n"
    "def double(x):\n    return x + x\n";

class SandboxGroupsHere : public testing::Test {
 protected:
  void SetUp() override {
    groups_ = find_sandbox_groups();
    if (!groups_.parent.empty()) return;
    if (std::getenv("QUENCH_REQUIRE_CGROUP") != nullptr) FAIL() << groups_.words;
    GTEST_SKIP() << groups_.words;
  }

  std::vector<fs::path> sandboxes() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(groups_.parent)) {
      if (entry.path().filename().string().starts_with("quench-sandbox-")) found.push_back(entry.path());
    }
    return found;
  }
  // Of all sandboxes that run.
  void set(const char* file, const char* value) const {
    for (const fs::path& folder : sandboxes()) {
      std::ofstream out(folder / file);
      out << value << std::flush;
      EXPECT_TRUE(out.good()) << folder / file;
    }
  }

  SandboxGroups groups_;
  // A kernel that runs as a process takes seconds for some tens of MiB.
  static SandboxLimits limits() {
    SandboxLimits limits = short_options(1).limits;
    limits.cpu_ms = 10'000;
    return limits;
  }

  const SandboxLimits limits_ = limits();
  const Problem problem_ = double_problem();
};

TEST_F(SandboxGroupsHere, HoldEachSandboxAndGoWithIt) {
  EXPECT_THAT(sandbox_probe().confined_by, HasSubstr("namespaces, control groups in " + groups_.parent.string()));
  {
    Sandbox sandbox(find_sandbox_host({}, "/usr/bin/python3"), limits_);
    EXPECT_TRUE(sandbox.run_answer(problem_, kRight, limits_.end_ms()).execution.passed());
    ASSERT_EQ(sandboxes().size(), 2u) << "the answer's and its tests'";
    for (const fs::path& folder : sandboxes()) {
      EXPECT_EQ(read_whole(folder / "memory.max"), std::to_string(limits_.group_memory_bytes()) + "\n");
      EXPECT_EQ(read_whole(folder / "pids.max"), std::to_string(limits_.group_processes()) + "\n");
      EXPECT_EQ(read_whole(folder / "memory.oom.group"), "1\n");
      EXPECT_NE(read_whole(folder / "cgroup.procs"), "");
    }
  }
  EXPECT_EQ(sandboxes().size(), 0u);
}

// The limits are lowered so that the kernel comes before everything else that looks at memory and processes.
TEST_F(SandboxGroupsHere, EndAnAnswerThatReachesTheirMemory) {
  Sandbox sandbox(find_sandbox_host({}, "/usr/bin/python3"), limits_);
  ASSERT_TRUE(sandbox.run_answer(problem_, kRight, limits_.end_ms()).execution.passed());
  const std::vector<fs::path> before = sandboxes();
  set("memory.max", "48M");
  const Attempt attempt = sandbox.run_answer(problem_, kTakes60MiB, limits_.end_ms());
  EXPECT_EQ(to_string(attempt.execution.result), "out_of_memory") << attempt.execution.detail;
  EXPECT_FALSE(attempt.inconclusive);
  EXPECT_TRUE(attempt.execution.isolated);
  for (const fs::path& folder : before) EXPECT_FALSE(fs::exists(folder)) << folder;
  // Without the lowered limit the same answer is within what it may use.
  EXPECT_TRUE(sandbox.run_answer(problem_, kTakes60MiB, limits_.end_ms()).execution.passed());
}

TEST_F(SandboxGroupsHere, BoundTheProcessesOfAnAnswer) {
  Sandbox sandbox(find_sandbox_host({}, "/usr/bin/python3"), limits_);
  EXPECT_TRUE(sandbox.run_answer(problem_, kStarts12Processes, limits_.end_ms()).execution.passed());
  set("pids.max", "8");
  const Execution execution = sandbox.run_answer(problem_, kStarts12Processes, limits_.end_ms()).execution;
  EXPECT_EQ(to_string(execution.result), "failed");
  EXPECT_THAT(execution.detail, HasSubstr("AssertionError"));
}

// A sandbox that somebody else killed says nothing about the answer.
TEST_F(SandboxGroupsHere, TellTheirLimitFromAKill) {
  Sandbox sandbox(find_sandbox_host({}, "/usr/bin/python3"), limits_);
  set("cgroup.kill", "1");
  const Attempt attempt = sandbox.run_answer(problem_, kRight, limits_.end_ms());
  EXPECT_TRUE(attempt.inconclusive) << to_string(attempt.execution.result);
  EXPECT_TRUE(sandbox.run_answer(problem_, kRight, limits_.end_ms()).execution.passed());
}

TEST_F(SandboxGroupsHere, OfAKilledWorkerGoAtTheNextStartAndOthersStay) {
  const SandboxGroup ours(groups_.parent, limits_);
  const std::vector<fs::path> before = sandboxes();
  ASSERT_EQ(before.size(), 1u);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t worker = ::fork();
  ASSERT_GE(worker, 0);
  if (worker == 0) {
    const SandboxGroup theirs(groups_.parent, limits_);
    if (::fork() == 0) {
      // What runs in the group, and holds nothing of the worker's.
      const bool entered = ::write(theirs.entrance(), "0", 1) == 1;
      for (int fd = 3; fd < 1024; ++fd) {
        if (fd != ends[1]) ::close(fd);
      }
      [[maybe_unused]] const ssize_t told = ::write(ends[1], entered ? "y" : "n", 1);
    }
    while (true) ::pause();
  }
  ::close(ends[1]);
  char entered = '?';
  ASSERT_EQ(::read(ends[0], &entered, 1), 1);
  EXPECT_EQ(entered, 'y');
  ::kill(worker, SIGKILL);
  ::waitpid(worker, nullptr, 0);
  EXPECT_EQ(sandboxes().size(), 2u);
  EXPECT_EQ(find_sandbox_groups().parent, groups_.parent);
  EXPECT_EQ(sandboxes(), before);
  EXPECT_EQ(::read(ends[0], &entered, 1), 0) << "what ran in it is gone too";
  ::close(ends[0]);
}

}  // namespace
}  // namespace quench::worker
