#include "cluster/launch/child_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>

#include "cluster/launch/mpirun_output.h"
#include "schemas/error.h"

namespace quench::cluster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ChildProcessTest : public ::testing::Test {
 protected:
  std::unique_ptr<ChildProcess> start(const std::string& script, ChildCommand command = {}) {
    command.program = "sh";
    command.arguments = {"-c", script};
    command.out = ChildStream::lines;
    command.err = ChildStream::lines;
    return std::make_unique<ChildProcess>(
        loop, command,
        ChildHandlers{.on_line =
                          [this](ChildHandlers::Source source, const std::string& line) {
                            (source == ChildHandlers::Source::out ? out : err).push_back(line);
                          },
                      .on_exit = [this](const ChildExit& exit) { end = exit; }});
  }
  bool wait() {
    loop.restart();
    loop.run_for(std::chrono::seconds(20));  // ends when nothing is pending any more
    return end.has_value();
  }

  Loop loop;
  std::vector<std::string> out;
  std::vector<std::string> err;
  std::optional<ChildExit> end;
};

TEST_F(ChildProcessTest, TellsLinesOfBothStreamsAndThenTheCode) {
  const auto child = start("echo one; echo two >&2; printf 'no end'; exit 3");
  ASSERT_TRUE(wait());
  EXPECT_THAT(out, ElementsAre("one", "no end"));
  EXPECT_THAT(err, ElementsAre("two"));
  EXPECT_EQ(end->code, 3);
  EXPECT_EQ(end->describe(), "exited with code 3");
  EXPECT_FALSE(child->running());
}

TEST_F(ChildProcessTest, TellsTheSignal) {
  const auto child = start("kill -SEGV $$");
  ASSERT_TRUE(wait());
  EXPECT_EQ(end->code, 128 + SIGSEGV);
  EXPECT_EQ(end->signal, SIGSEGV);
}

TEST_F(ChildProcessTest, StopEscalatesToKill) {
  const auto child = start("trap '' TERM; echo ready; while :; do read x < /dev/zero; done");
  loop.restart();
  while (out.empty()) loop.run_one();
  child->stop(std::chrono::milliseconds(50));
  ASSERT_TRUE(wait());
  EXPECT_EQ(end->signal, SIGKILL);
}

TEST_F(ChildProcessTest, AnEndlessLineComesInPieces) {
  const auto child = start("head -c 200000 /dev/zero | tr '\\0' x");
  ASSERT_TRUE(wait());
  ASSERT_EQ(out.size(), 4u);
  EXPECT_EQ(out[0].size(), 64u << 10);
}

TEST_F(ChildProcessTest, AGrandchildHoldingTheOutputDoesNotHoldTheExit) {
  const auto start_time = std::chrono::steady_clock::now();
  const auto child = start("sleep 15 & echo parent");
  ASSERT_TRUE(wait());
  EXPECT_LT(std::chrono::steady_clock::now() - start_time, std::chrono::seconds(10));
  EXPECT_THAT(out, ElementsAre("parent"));
}

TEST_F(ChildProcessTest, PassesTheChosenEnvironmentOnly) {
  ::setenv("QUENCH_TEST_SECRET", "x", 1);
  ::setenv("QUENCH_TEST_OPEN", "y", 1);
  const auto child = start("echo \"$QUENCH_TEST_SECRET,$QUENCH_TEST_OPEN,$ADDED\"",
                           {.environment = {{"ADDED", "z"}}, .keep_variable = [](const std::string& name) {
                              return name != "QUENCH_TEST_SECRET";
                            }});
  ASSERT_TRUE(wait());
  EXPECT_THAT(out, ElementsAre(",y,z"));
}

TEST_F(ChildProcessTest, LetsNoDescriptorOfOursThrough) {
  // 0, 1, 2 and the folder being listed.
  const auto child = start("ls /proc/self/fd | wc -l");
  ASSERT_TRUE(wait());
  EXPECT_THAT(out, ElementsAre("4"));
}

TEST_F(ChildProcessTest, ProgramsThatCannotRunAreErrors) {
  EXPECT_THROW(ChildProcess(loop, {.program = "no-such-program-anywhere"}, {}), Error);
  EXPECT_THROW(ChildProcess(loop, {.program = "/etc/passwd"}, {}), Error);
}

TEST(MpirunOutput, TagsNameTheRank) {
  const TaggedLine tagged = parse_tagged_line("[1,12]<stderr>:block 3: [1,2]<stdout>: is text");
  EXPECT_EQ(tagged.rank, 12u);
  EXPECT_EQ(tagged.text, "block 3: [1,2]<stdout>: is text");
  for (const char* const line : {"", "[", "[vm:123] message", "[1,x]<stderr>:a", "[1,2]<other>:a", "[1,2]",
                                 "[,]<stdout>:", "[1,99999999999]<stdout>:a"}) {
    EXPECT_FALSE(parse_tagged_line(line).rank) << line;
    EXPECT_EQ(parse_tagged_line(line).text, line);
  }
}

TEST(MpirunOutput, TheFirstReportIsTheCause) {
  ExitReport killed;
  killed.on_line("mpirun noticed that process rank 1 with PID 0 on node vm exited on signal 9 (Killed).");
  killed.on_line(
      "mpirun noticed that process rank 0 with PID 0 on node vm exited on signal 15 (Terminated).");
  EXPECT_EQ(killed.rank(), 1u);
  EXPECT_EQ(killed.signal(), 9);
  ExitReport failed;
  failed.on_line("  Process name: [[16457,1],3]");
  failed.on_line("  Exit code:    42");
  EXPECT_EQ(failed.rank(), 3u);
  EXPECT_EQ(failed.code(), 42);
  EXPECT_FALSE(failed.signal());
}

}  // namespace
}  // namespace quench::cluster
