// Every program in hostile/ has its expected verdict in its first line. After each one an innocent answer
// runs in the same sandbox and finds it as if nothing had been there.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "schemas/error.h"
#include "tests/worker/evaluate/grading.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> hostile_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(QUENCH_SOURCE_DIR "/tests/worker/evaluate/hostile")) {
    if (entry.path().extension() == ".py") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

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

class HostileProgram : public testing::TestWithParam<std::string> {};

TEST_P(HostileProgram, GetsItsVerdictAndLeavesNothing) {
  const std::string text = read_whole(QUENCH_SOURCE_DIR "/tests/worker/evaluate/hostile/" + GetParam() + ".py");
  const std::string mark = "# expect: ";
  ASSERT_TRUE(text.starts_with(mark)) << "the first line must say what to expect";
  const std::string expected = text.substr(mark.size(), text.find('\n') - mark.size());
  const bool is_program = text.find("# form: program\n") != std::string::npos;

  const Problem problem = double_problem();
  Grader grader(short_options(1));
  const std::vector<Submission> submissions{
      {&problem, is_program ? SubmissionForm::program : SubmissionForm::solution, text},
      {&problem, SubmissionForm::solution, kInnocent}};
  const std::vector<Execution> executions = grader.grade(submissions);
  EXPECT_EQ(to_string(executions[0].result), expected) << executions[0].detail << "\n" << executions[0].stderr_tail;
  EXPECT_EQ(executions[0].isolated, !is_program);
  EXPECT_EQ(to_string(executions[1].result), "passed") << executions[1].detail << "\n" << executions[1].stderr_tail;
}

INSTANTIATE_TEST_SUITE_P(Programs, HostileProgram, testing::ValuesIn(hostile_names()),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace quench::worker
