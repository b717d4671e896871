// The sandbox as its users meet it: several at once, replaced when broken, and clear words where it cannot run.
#include "worker/evaluate/sandbox/sandbox.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "schemas/error.h"
#include "tests/support/script_file.h"
#include "tests/worker/evaluate/grading.h"
#include "worker/evaluate/sandbox/home_core.h"
#include "worker/evaluate/sandbox/probe.h"
#include "worker/evaluate/sandbox/sandbox.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

Submission solution(const Problem& problem, std::string text) {
  return {&problem, SubmissionForm::solution, std::move(text)};
}

TEST(Grader, KeepsTheOrderAndTheVerdictsForAnyNumberOfSandboxes) {
  const Problem problem = double_problem();
  std::vector<Submission> submissions;
  for (int i = 0; i < 30; ++i) {
    submissions.push_back(solution(problem, i % 3 == 0 ? "def double(x):\n    return x + x\n" : "def double(x):\n    return 4\n"));
  }
  for (int sandboxes : {1, 3}) {
    Grader grader(short_options(sandboxes));
    std::vector<int> calls(30);
    const std::vector<Execution> executions =
        grader.grade(submissions, [&](std::size_t index, const Execution&) { ++calls[index]; });
    for (std::size_t i = 0; i < 30; ++i) {
      EXPECT_EQ(executions[i].passed(), i % 3 == 0);
      EXPECT_EQ(calls[i], 1);
      EXPECT_TRUE(executions[i].isolated);
    }
    EXPECT_THAT(executions[1].detail, HasSubstr("AssertionError at: assert candidate('ab') == 'abab'"));
  }
}

// Which cores the answer's and the tests' processes may use.
Problem cores_problem(const std::string& expected) {
  return Problem{"test/cores", "def cores():\n    \"\"\"Its cores.\"\"\"\n", "cores", "",
                 "import os\ndef check(candidate):\n    assert (candidate(), sorted(os.sched_getaffinity(0))) == (" +
                     expected + ", " + expected + ")\n"};
}
constexpr char kItsCores[] = "import os\ndef cores():\n    return sorted(os.sched_getaffinity(0))\n";

// A thread of its own: where it has moved is where it stays.
template <class Body>
void in_a_thread(Body body) {
  std::thread(body).join();
}

TEST(HomeCore, IsNobodyElses) {
  in_a_thread([] {
    Cores cores;
    const HomeCore home(cores);
    ASSERT_GE(home.core(), 0);
    cpu_set_t mine;
    ::sched_getaffinity(0, sizeof mine, &mine);
    EXPECT_EQ(CPU_COUNT(&mine), 1);
    EXPECT_TRUE(CPU_ISSET(static_cast<unsigned>(home.core()), &mine));
    EXPECT_FALSE(cores.take(home.core()));
    int free = 0;
    while (cores.take_any() >= 0) ++free;
    EXPECT_EQ(free + 1, cores.count());
    // One sandbox more than cores.
    in_a_thread([&] {
      HomeCore none(cores);
      EXPECT_EQ(none.core(), -1);
      EXPECT_FALSE(none.look());
    });
  });
}

TEST(HomeCore, IsLeftOnlyWhenCrowdedAndForAnIdleCore) {
  EXPECT_THAT(better_cores({1, 0.3, {0.1, 0.9, 0.4, 0.6}}), testing::ElementsAre(1, 3));
  EXPECT_THAT(better_cores({1, 0.05, {0, 0.9}}), testing::IsEmpty());
  EXPECT_THAT(better_cores({1, 0.3, {0, 0.2}}), testing::IsEmpty());
  EXPECT_THAT(better_cores({4, 0.3, {0, 4}}), testing::IsEmpty());
  EXPECT_THAT(better_cores({1, 0.3, {}}), testing::IsEmpty());
}

TEST(Sandbox, AllOfItFollowsToAnotherCore) {
  in_a_thread([] {
    const GraderOptions options = short_options(1);
    Cores cores;
    HomeCore home(cores);
    Sandbox sandbox(usable_sandbox_host(options.bwrap, options.python, options.limits, options.weakest), options.limits);
    std::vector<int> places{home.core()};
    if (const int other = cores.take_any(); other >= 0) places.push_back(other);
    const Problem apart = double_problem();
    for (const int core : places) {
      sandbox.move_to(core);
      const std::string here = "[" + std::to_string(core) + "]";
      const std::string claim = "    assert sorted(os.sched_getaffinity(0)) == " + here + "\n";
      for (const auto& [what, attempt] : {
               // The desk of the core before comes along.
               std::pair("at the desk", sandbox.run_answer(apart, "import os\ndef double(x):\n" + claim + "    return x + x\n", 4000)),
               std::pair("tests that import os", sandbox.run_answer(cores_problem(here), kItsCores, 4000)),
               std::pair("a whole program", sandbox.run_program(std::string(kItsCores) + "if True:\n" + claim, 4000)),
               std::pair("at a new desk", sandbox.run_answer(apart, apart.prompt + apart.canonical_solution, 4000))}) {
        EXPECT_TRUE(attempt.execution.passed()) << what << ": " << attempt.execution.detail;
        EXPECT_FALSE(attempt.inconclusive) << what;
      }
    }
    if (places.size() == 1) GTEST_SKIP() << "one core: nowhere to move to";
  });
}

TEST(Grader, SaysWhatWentWrong) {
  const Problem problem = double_problem();
  Grader grader(short_options(2));
  const std::vector<Submission> submissions{
      solution(problem, "def double(x):\n    return y\n"),
      solution(problem, "def twice(x):\n    return x\n"),
      solution(problem, "import sys\nprint('here', file=sys.stderr)\nraise ValueError('no')\n"),
      solution(problem, "class Mine(Exception):\n    pass\ndef double(x):\n    raise Mine('gone')\n"),
      solution(problem, "def double(x)\n"),
      solution(problem, "def double(x):\n    return object()\n"),
      solution(problem, "x = '\0'\n"),
  };
  const std::vector<Execution> executions = grader.grade(submissions);
  EXPECT_THAT(executions[0].detail, HasSubstr("NameError: name 'y' is not defined at: assert candidate(2) == 4"));
  EXPECT_THAT(executions[0].stderr_tail, HasSubstr("return y"));
  EXPECT_EQ(executions[1].detail, "NameError: name 'double' is not defined");
  EXPECT_EQ(executions[2].detail, "ValueError: no");
  EXPECT_THAT(executions[2].stderr_tail, testing::StartsWith("here\n"));
  EXPECT_THAT(executions[3].detail, HasSubstr("Mine: gone"));
  EXPECT_EQ(executions[4].detail, "SyntaxError: expected ':' (line 1)");
  EXPECT_EQ(executions[5].result, VerdictResult::failed);
  EXPECT_EQ(executions[6].result, VerdictResult::compile_error);
}

TEST(Grader, TestsSeeWhatAnAnswerDoesToItsArguments) {
  Problem problem = double_problem();
  problem.test =
      "def check(candidate):\n"
      "    values = [1, 2]\n"
      "    seen = {1: 2}\n"
      "    assert candidate(values) is None and values == [1, 2, 1, 2]\n"
      "    try:\n"
      "        candidate(seen)\n"
      "        assert False\n"
      "    except ZeroDivisionError:\n"
      "        pass\n";
  Grader grader(short_options(1));
  const std::vector<Submission> submissions{
      solution(problem, "def double(x):\n    if isinstance(x, dict):\n        return 1 // 0\n    x.extend(list(x))\n"),
      solution(problem, "def double(x):\n    if isinstance(x, dict):\n        return 1 // 0\n    x = x + x\n")};
  const std::vector<Execution> executions = grader.grade(submissions);
  EXPECT_TRUE(executions[0].passed()) << executions[0].detail;
  EXPECT_FALSE(executions[1].passed());
}

// The prompt's helper is the one the tests use; an answer that bends it gains nothing, one that drops it fails.
TEST(Grader, HelpersOfTheTestsAreThePromptsOwn) {
  Problem problem{"test/helper", "def size(x):\n    return len(x)\n\ndef grow(x):\n    \"\"\"Longer.\"\"\"\n", "grow", "",
                  "def check(candidate):\n    assert size(candidate([1])) == 2\n"};
  Grader grader(short_options(1));
  const std::vector<Submission> submissions{
      {&problem, SubmissionForm::completion, "    return x + x\n"},
      solution(problem, "def size(x):\n    return 2\ndef grow(x):\n    return x\n"),
      solution(problem, "def grow(x):\n    return x + x\n")};
  const std::vector<Execution> executions = grader.grade(submissions);
  EXPECT_TRUE(executions[0].passed()) << executions[0].detail;
  EXPECT_FALSE(executions[1].passed());
  EXPECT_THAT(executions[2].detail, HasSubstr("name 'size' is not defined"));
}

TEST(Grader, DrawsTheSameNumbersEveryTime) {
  Problem problem = double_problem();
  problem.test =
      "def check(candidate):\n"
      "    import random\n"
      "    assert candidate([]) == random.random(), (candidate([]), list({'a', 'b', 'c', 'd'}))\n";
  Grader grader(short_options(2));
  const std::vector<Submission> submissions(6, solution(problem, "import random\ndef double(x):\n    return random.random() + 1\n"));
  const std::vector<Execution> executions = grader.grade(submissions);
  for (const Execution& execution : executions) EXPECT_EQ(execution.detail, executions[0].detail);
  EXPECT_THAT(executions[0].detail, HasSubstr("1."));
}

// Byte-level tokens may end anywhere: what a model generates need not be text.
TEST(Grader, TakesInvalidTextAndTenMegabytes) {
  const Problem problem = double_problem();
  Grader grader(short_options(2));
  const std::string right = "\ndef double(x):\n    return x + x\n";
  const std::vector<Submission> submissions{solution(problem, "text = '\xff\xc3'\nassert text == '\\ufffd\\ufffd'" + right),
                                            solution(problem, "\xff\n" + right),
                                            solution(problem, "# " + std::string(10 << 20, 'x') + right),
                                            solution(problem, "text = '" + std::string(10 << 20, '\1') + "'" + right)};
  const std::vector<Execution> executions = grader.grade(submissions);
  EXPECT_TRUE(executions[0].passed()) << executions[0].detail;
  EXPECT_EQ(executions[1].result, VerdictResult::compile_error);
  EXPECT_TRUE(executions[2].passed()) << executions[2].detail;
  EXPECT_TRUE(executions[3].passed()) << executions[3].detail;
}

// While the sandbox is alive: the program's processes are gone from the host when its verdict is there.
TEST(Grader, NothingOfAProgramOutlivesIt) {
  const std::string mark = "outlives-" + std::to_string(::getpid());
  const Problem problem = double_problem();
  Grader grader(short_options(1));
  const std::vector<Submission> submissions{solution(
      problem, "import os\nimport subprocess\nsubprocess.Popen(['/usr/bin/python3', '-c', 'import time; time.sleep(60)', '" + mark +
                   "'], start_new_session=True)\ndef double(x):\n    return x + x\n")};
  EXPECT_TRUE(grader.grade(submissions)[0].passed());
  int processes = 0;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    ++processes;
    EXPECT_EQ(read_whole(entry.path() / "cmdline").find(mark), std::string::npos) << entry.path();
  }
  EXPECT_GT(processes, 0);
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string stat = read_whole(entry.path() / "stat");
    const std::size_t end = stat.rfind(") ");
    // "S 123 …": the state and the parent.
    if (end != std::string::npos && std::stol(stat.substr(end + 4)) == parent) children.push_back(std::stoi(name));
  }
  return children;
}

TEST(Grader, ReplacesABrokenSandboxAndRunsTheAnswerAgain) {
  const Problem problem = double_problem();
  Grader grader(short_options(2));
  std::vector<Submission> submissions;
  for (int i = 0; i < 12; ++i) {
    submissions.push_back(solution(problem, i % 2 == 0 ? "def double(x):\n    return x + x\n" : "def double(x):\n    pass\n"));
  }
  std::size_t killed = 0;
  const std::vector<Execution> executions = grader.grade(submissions, [&](std::size_t, const Execution&) {
    if (killed > 0) return;
    for (pid_t child : children_of(::getpid())) killed += ::kill(child, SIGKILL) == 0;
  });
  EXPECT_EQ(killed, 4u) << "two sandboxes of two processes each";
  for (std::size_t i = 0; i < executions.size(); ++i) {
    EXPECT_EQ(executions[i].passed(), i % 2 == 0) << executions[i].detail;
    EXPECT_THAT(executions[i].detail, testing::Not(HasSubstr("the sandbox")));
  }
  EXPECT_EQ(children_of(::getpid()).size(), 4u);
}

TEST(Grader, HoldsNoDescriptorOfTheHost) {
  // As MPI and databases leave them: inheritable, with a high number.
  const int secret = ::open("/proc/self/status", O_RDONLY);
  ASSERT_GE(secret, 0);
  ASSERT_EQ(::dup2(secret, 40), 40);
  const Problem problem = double_problem();
  Grader grader(short_options(1));
  const std::vector<Submission> submissions{solution(
      problem, "import os\nopen_ones = []\n"
               "for fd in range(5, 1024):\n    try:\n        os.fstat(fd)\n    except OSError:\n        continue\n"
               "    open_ones.append(fd)\ndef double(x):\n    assert not open_ones, open_ones\n    return x + x\n")};
  const Execution execution = grader.grade(submissions)[0];
  EXPECT_TRUE(execution.passed()) << execution.detail;
  ::close(40);
  ::close(secret);
}

std::string error_of(const GraderOptions& options) {
  try {
    Grader grader(options);
  } catch (const Error& error) {
    return std::string(to_string(error.code())) + ": " + error.what();
  }
  return "no error";
}

// How much CPU time the same work takes depends on the host, so the verdict near the limit comes from a run alone.
TEST(Sandbox, PastTheLimitIsATimeOutThatMayBeMended) {
  const GraderOptions options = short_options(1);
  ASSERT_EQ(options.limits.cpu_ms, 1000u);
  Sandbox sandbox(find_sandbox_host({}, options.python), options.limits);
  const auto run = [&](const std::string& seconds) {
    return sandbox.run_answer(double_problem(),
                              "import time\nwhile time.process_time() < " + seconds +
                                  ":\n    pass\ndef double(x):\n    return x + x\n",
                              60'000);
  };
  const Attempt within = run("0.5"), past = run("1.2"), endless = run("100");
  EXPECT_EQ(to_string(within.execution.result), "passed");
  EXPECT_EQ(to_string(past.execution.result), "timed_out");
  EXPECT_TRUE(past.inconclusive);
  EXPECT_EQ(to_string(endless.execution.result), "timed_out");
  EXPECT_FALSE(endless.inconclusive);
}

TEST(Grader, NamesWhatIsMissing) {
  GraderOptions options = short_options(2);
  options.bwrap = "/nowhere/bwrap";
  EXPECT_THAT(error_of(options), HasSubstr("bad_input: bubblewrap is missing (/nowhere/bwrap)"));
  EXPECT_THAT(error_of(options), HasSubstr("install the package bubblewrap"));
  options = short_options(2);
  options.python = "/nowhere/python3";
  EXPECT_THAT(error_of(options), HasSubstr("bad_input: there is no /nowhere/python3"));
  options.python = "/usr/bin/true";
  EXPECT_THAT(error_of(options), HasSubstr("bad_input: the sandbox does not start"));
}

// As the kernel does where memory is short: another try may find room.
TEST(Grader, ASandboxThatIsKilledWhileItStartsIsNoFaultOfTheHost) {
  const ScriptFile bwrap("#!/bin/sh\nkill -KILL $$\n");
  GraderOptions options = short_options(1);
  options.bwrap = bwrap.path();
  EXPECT_THAT(error_of(options), HasSubstr("failed: the sandbox was killed while it started"));
}

bool write_file(const char* path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  out.close();
  return !out.fail();
}

// In a child whose user namespace allows no further ones: what a hardened cluster does.
TEST(Grader, SaysThatUserNamespacesAreForbidden) {
  const uid_t user = ::getuid();
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::string said = "cannot set the stage";
    if (::unshare(CLONE_NEWUSER) == 0 && write_file("/proc/self/uid_map", "1000 " + std::to_string(user) + " 1\n") &&
        write_file("/proc/sys/user/max_user_namespaces", "0\n")) {
      said = error_of(short_options(1));
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
  // The kernel refuses a process with threads, as ThreadSanitizer's is.
  if (said == "cannot set the stage") GTEST_SKIP() << "this process cannot enter a user namespace of its own";
  EXPECT_THAT(said, HasSubstr("bad_input: the sandbox does not start"));
  EXPECT_THAT(said, HasSubstr("sysctl user.max_user_namespaces"));
}

TEST(SandboxProbe, FindsThatItRunsOrWhatIsMissing) {
  const SandboxProbe works = sandbox_probe();
  EXPECT_TRUE(works.runs) << works.problem;
  EXPECT_THAT(works.python_version, testing::StartsWith("3."));
  EXPECT_EQ(works.problem, "");
  const SandboxProbe missing = sandbox_probe("/nowhere/bwrap");
  EXPECT_FALSE(missing.starts || missing.runs);
  EXPECT_THAT(missing.problem, HasSubstr("install the package bubblewrap"));
}

}  // namespace
}  // namespace quench::worker
