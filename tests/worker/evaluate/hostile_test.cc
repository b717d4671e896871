// Every program in hostile/ has its expected verdict in its first line, against tests of both forms. After each one an
// innocent answer runs in the same sandbox and finds it as if nothing had been there, and so does the host.
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <vector>

#include "schemas/error.h"
#include "tests/worker/evaluate/grading.h"

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

// What is left of a program would show here: processes come to the next subreaper above them, files take up room.
class Host {
 public:
  Host() {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    for (const char* folder : kFolders) free_.push_back(free_bytes(folder));
  }
  ~Host() { ::prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  void expect_as_before() const {
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a process outlived its sandbox";
    for (std::size_t i = 0; i < free_.size(); ++i)
      EXPECT_GT(free_bytes(kFolders[i]) + kNoise, free_[i]) << kFolders[i] << " has less room than before";
  }

 private:
  static constexpr std::array kFolders{"/", "/tmp", "/dev/shm", "/var/tmp"};
  // The disk fillers take 16 MiB at least; others write to these disks too.
  static constexpr std::uint64_t kNoise = 12ull << 20;

  static std::uint64_t free_bytes(const char* folder) {
    struct statvfs system {};
    return ::statvfs(folder, &system) == 0 ? std::uint64_t{system.f_bavail} * system.f_frsize : 0;
  }

  std::vector<std::uint64_t> free_;
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
