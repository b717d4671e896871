// The sandbox where a host forbids namespaces: the hostile programs under Landlock, what a verdict says then, and
// that nothing outlives the host's process. A program whose verdict differs there says so in its second line.
#include "worker/evaluate/sandbox/landlock.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "schemas/error.h"
#include "tests/worker/evaluate/grading.h"
#include "worker/evaluate/sandbox/probe.h"
#include "worker/evaluate/sandbox/sandbox.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Landlock : public testing::Test {
 protected:
  void SetUp() override {
    if (landlock_abi() < kLandlockAbiMin)
      GTEST_SKIP() << "this kernel has Landlock ABI " << landlock_abi() << "; needed: " << kLandlockAbiMin;
  }
  // Without asking whether namespaces work.
  static SandboxHost host() { return landlock_host("/usr/bin/python3"); }
};

std::vector<std::string> hostile_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(QUENCH_SOURCE_DIR "/tests/worker/evaluate/hostile")) {
    if (entry.path().extension() == ".py") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string after_mark(const std::string& text, const std::string& mark) {
  const std::size_t at = text.find(mark);
  if (at == std::string::npos) return {};
  return text.substr(at + mark.size(), text.find('\n', at) - at - mark.size());
}

// All processes that descend from this one.
std::vector<pid_t> descendants() {
  std::vector<pid_t> found{::getpid()};
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      const std::string stat = read_whole(entry.path() / "stat");
      const std::size_t end = stat.rfind(") ");
      if (end != std::string::npos && std::stol(stat.substr(end + 4)) == found[i]) found.push_back(std::stoi(name));
    }
  }
  found.erase(found.begin());
  return found;
}

// Right only where nothing is left of whoever came before, and nothing of the host is open.
constexpr char kInnocent[] = R"(
import os
import resource

def refused(call, *arguments):
    try:
        call(*arguments)
    except PermissionError:
        return True
    return False

assert refused(os.listdir, "/proc") and refused(open, "/etc/passwd") and refused(os.listdir, "/")
assert refused(open, "/tmp/mine", "w") and refused(open, "/dev/shm/mine", "w") and refused(os.mkdir, "/tmp/folder")
assert refused(os.chmod, "/tmp", 0o777) and refused(os.kill, os.getppid(), 9)
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (64, 64)

def double(x):
    return x + x
)";

class HostileUnderLandlock : public Landlock, public testing::WithParamInterface<std::string> {};

TEST_P(HostileUnderLandlock, GetsItsVerdictAndLeavesNothing) {
  const std::string text = read_whole(QUENCH_SOURCE_DIR "/tests/worker/evaluate/hostile/" + GetParam() + ".py");
  std::string expected = after_mark(text, "# under landlock: ");
  if (expected.empty()) expected = after_mark(text, "# expect: ");
  const bool is_program = text.find("# form: program\n") != std::string::npos;
  const Problem problem = double_problem();
  const GraderOptions options = short_options(1);
  Sandbox sandbox(host(), options.limits);
  const std::uint32_t wall_ms = options.limits.end_ms();
  const auto run = [&](std::uint32_t ms) {
    return is_program ? sandbox.run_program(text, ms) : sandbox.run_answer(problem, text, ms);
  };
  Attempt attempt = run(wall_ms);
  if (attempt.inconclusive) attempt = run(4 * wall_ms);  // as the grader does
  const Execution& execution = attempt.execution;
  EXPECT_EQ(to_string(execution.result), expected) << execution.detail << "\n" << execution.stderr_tail;
  EXPECT_EQ(execution.confinement, Confinement::landlock);
  const Execution innocent = sandbox.run_answer(problem, kInnocent, 4 * wall_ms).execution;
  EXPECT_EQ(to_string(innocent.result), "passed") << innocent.detail << "\n" << innocent.stderr_tail;
  // Two supervisors, two warm Pythons, the tests' process.
  EXPECT_LE(descendants().size(), 5u);
}

INSTANTIATE_TEST_SUITE_P(Programs, HostileUnderLandlock, testing::ValuesIn(hostile_names()),
                         [](const auto& instance) { return instance.param; });

bool write_file(const char* path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  out.close();
  return !out.fail();
}

std::string graded_with(Confinement weakest) {
  try {
    GraderOptions options = short_options(2);
    options.weakest = weakest;
    const Problem problem = double_problem();
    Grader grader(options);
    const std::vector<Submission> submissions{
        {&problem, SubmissionForm::solution, "def double(x):\n    return x + x\n"},
        {&problem, SubmissionForm::solution, "import socket\nsocket.socket()\ndef double(x):\n    return x + x\n"}};
    std::string said;
    for (const Execution& execution : grader.grade(submissions))
      said += std::string(to_string(execution.confinement)) + " " + std::string(to_string(execution.result)) + " ";
    return said;
  } catch (const Error& error) {
    return std::string(to_string(error.code())) + ": " + error.what();
  }
}

// In a child whose user namespace allows no further ones: what a hardened cluster does.
std::string where_namespaces_are_forbidden(Confinement weakest) {
  const uid_t user = ::getuid();
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    std::string said = "cannot set the stage";
    if (::unshare(CLONE_NEWUSER) == 0 && write_file("/proc/self/uid_map", "1000 " + std::to_string(user) + " 1\n") &&
        write_file("/proc/sys/user/max_user_namespaces", "0\n")) {
      said = graded_with(weakest);
    }
    [[maybe_unused]] const ssize_t written = ::write(ends[1], said.data(), said.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string said;
  char block[4096];
  for (ssize_t count; (count = ::read(ends[0], block, sizeof block)) > 0;) said.append(block, static_cast<std::size_t>(count));
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  return said;
}

TEST_F(Landlock, IsUsedOnlyWhereNamespacesAreForbiddenAndItIsAllowed) {
  EXPECT_EQ(graded_with(Confinement::landlock), "namespaces passed namespaces failed ");
  const std::string allowed = where_namespaces_are_forbidden(Confinement::landlock);
  if (allowed == "cannot set the stage") GTEST_SKIP() << "this process cannot enter a user namespace of its own";
  EXPECT_EQ(allowed, "landlock passed landlock failed ");
  const std::string refused = where_namespaces_are_forbidden(Confinement::namespaces);
  EXPECT_THAT(refused, HasSubstr("bad_input: the sandbox does not start"));
  EXPECT_THAT(refused, HasSubstr("quench grade --allow-landlock"));
}

bool runs(const std::string& mark) {
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (read_whole(entry.path() / "cmdline").find(mark) != std::string::npos) return true;
  }
  return false;
}

// No namespace takes the program along: the supervisor does.
TEST_F(Landlock, NothingOutlivesAHostThatIsKilled) {
  const std::string mark = "outlives-" + std::to_string(::getpid());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const Problem problem = double_problem();
    Sandbox sandbox(host(), short_options(1).limits);
    sandbox.run_answer(problem,
                       "import subprocess, time\nsubprocess.Popen(['/usr/bin/python3', '-c', 'import time; time.sleep(60)', '" + mark +
                           "'], start_new_session=True)\ntime.sleep(60)\n",
                       60'000);
    ::_exit(0);
  }
  const auto until = [&](bool wanted) {
    for (int i = 0; i < 500 && runs(mark) != wanted; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return runs(mark) == wanted;
  };
  EXPECT_TRUE(until(true));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(until(false));
}

TEST_F(Landlock, LeavesNoFolderOfSources) {
  const fs::path folder = fs::path(testing::TempDir()) / ("landlock-" + std::to_string(::getpid()));
  fs::create_directory(folder);
  ASSERT_EQ(::setenv("TMPDIR", folder.c_str(), 1), 0);
  {
    const Sandbox sandbox(host(), short_options(1).limits);
    EXPECT_TRUE(fs::is_empty(folder)) << "while it runs";
  }
  ::unsetenv("TMPDIR");
  EXPECT_TRUE(fs::remove(folder));
}

}  // namespace
}  // namespace quench::worker
