// Every program in hostile/ has its expected verdict in its first line, against tests of both forms. After each one an
// innocent answer runs in the same sandbox and finds it as if nothing had been there, and so does the host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "schemas/error.h"
#include "tests/worker/evaluate/grading.h"
#include "worker/evaluate/sandbox/bubblewrap.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;

// Right only in a clean sandbox: nobody else there, nothing left behind, limits and scheduling fresh.
constexpr char kInnocent[] = R"(
import os
import resource

mine = {1, os.getpid()}
others = [p for p in os.listdir("/proc") if p.isdigit() and int(p) not in mine]
assert not others, others
assert os.listdir("/tmp") == [] and os.listdir("/dev/shm") == []
open("/tmp/mine", "w").close()
open("/dev/shm/mine", "w").close()
assert os.getpriority(os.PRIO_PROCESS, 1) == 0 and os.sched_getaffinity(0) == os.sched_getaffinity(1)
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (64, 64)

def double(x):
    return x + x
)";

// What is left of a program would show here: processes come to the next subreaper above them, files have their
// maker's name. (Free room on the disks would say less: others use them too.)
class Host {
 public:
  Host() { ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }
  ~Host() { ::prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  void expect_as_before() const {
    EXPECT_TRUE(nobody_is_left()) << "a process outlived its sandbox";
    // Only root's programs have a user of their own.
    if (::geteuid() != 0) return;
    EXPECT_THAT(files_of(find_sandbox_host({}, "/usr/bin/python3").user), testing::IsEmpty());
  }

 private:
  // A sandbox ends with its first process, which its end reaches a moment later.
  static bool nobody_is_left() {
    for (int i = 0; i < 500; ++i) {
      const pid_t ended = ::waitpid(-1, nullptr, WNOHANG);
      if (ended < 0) return errno == ECHILD;
      if (ended == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  static std::vector<std::string> files_of(uid_t user) {
    std::vector<std::string> found;
    for (const char* folder : {"/tmp", "/dev/shm", "/var/tmp"}) {
      std::error_code ignored;
      for (const auto& entry : fs::directory_iterator(folder, ignored)) {
        struct stat status {};
        if (::lstat(entry.path().c_str(), &status) == 0 && status.st_uid == user) found.push_back(entry.path().string());
      }
    }
    return found;
  }
};

enum class Tests { check, script };

struct Case {
  std::string name, text;
  Tests tests = Tests::check;
  bool is_program = false;  // it brings its own tests
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& entry : fs::directory_iterator(QUENCH_SOURCE_DIR "/tests/worker/evaluate/hostile")) {
    if (entry.path().extension() != ".py") continue;
    Case check{entry.path().stem().string(), read_whole(entry.path())};
    check.is_program = check.text.find("# form: program\n") != std::string::npos;
    if (!check.is_program) {
      Case script = check;
      script.tests = Tests::script;
      script.name += "_against_a_script";
      all.push_back(std::move(script));
    }
    all.push_back(std::move(check));
  }
  std::sort(all.begin(), all.end(), [](const Case& one, const Case& other) { return one.name < other.name; });
  return all;
}

Problem problem_of(Tests tests) {
  Problem problem = double_problem();
  if (tests == Tests::check) return problem;
  problem.test_form = TestForm::script;
  problem.prompt.clear();
  problem.canonical_solution = "def double(x):\n    return x + x\n";
  problem.test =
      "assert double(2) == 4\n"
      "assert double('ab') == 'abab'\n"
      "assert double([1, (2, None)]) == [1, (2, None), 1, (2, None)]\n";
  return problem;
}

class HostileProgram : public testing::TestWithParam<Case> {};

TEST_P(HostileProgram, GetsItsVerdictAndLeavesNothing) {
  const auto& [name, text, tests, is_program] = GetParam();
  const std::string mark = "# expect: ";
  ASSERT_TRUE(text.starts_with(mark)) << "the first line must say what to expect";
  const std::string expected = text.substr(mark.size(), text.find('\n') - mark.size());

  const Problem problem = problem_of(tests);
  const Host host;
  {
    Grader grader(short_options(1));
    const std::vector<Submission> submissions{
        {&problem, is_program ? SubmissionForm::program : SubmissionForm::solution, text},
        {&problem, SubmissionForm::solution, kInnocent}};
    const std::vector<Execution> executions = grader.grade(submissions);
    EXPECT_EQ(to_string(executions[0].result), expected) << executions[0].detail << "\n" << executions[0].stderr_tail;
    EXPECT_EQ(executions[0].isolated, !is_program);
    EXPECT_EQ(to_string(executions[1].result), "passed") << executions[1].detail << "\n" << executions[1].stderr_tail;
  }
  host.expect_as_before();
}

void PrintTo(const Case& shown, std::ostream* out) { *out << shown.name; }

INSTANTIATE_TEST_SUITE_P(Programs, HostileProgram, testing::ValuesIn(cases()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace quench::worker
