// Processes that stand still for a while (a swapped-out node, a debugger, a suspended job): a short pause costs nothing
// but its time, a long one counts as a loss that is noticed within 10 s, and the job ends with the same bytes either way.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <random>
#include <thread>

#include "tests/integration/small_job.h"
#include "tests/support/waiting.h"

namespace quench::testing {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kShort{3};
constexpr seconds kLong{13};
constexpr seconds kNoticedWithin{10};

// Stops a process for `pause`, which may end meanwhile.
class Stopped : public ::testing::Test {
 protected:
  void SetUp() override {
    nlohmann::json job = small_job();
    job["name"] = "still";
    job["quantize"] = {{{"method", "gptq"}, {"bits", 4}, {"groupSize", 32}}};
    job["calibration"]["sequences"] = 500;
    job["calibration"]["length"] = 256;
    write_text(scratch_ / "job.json", job.dump());
    auto arguments = run_arguments(scratch_ / "job.json", scratch_ / "untouched", 2);
    const Finished untouched = run(arguments);
    ASSERT_EQ(untouched.exit_code, 0) << untouched.err;
    expected_ = digests_of(untouched);
  }
  void TearDown() override {
    if (HasFailure()) std::cerr << read_text(scratch_ / "err.txt") << log();
  }
  std::string log() const { return log_of(scratch_ / "store"); }
  // Runs the job, and stops one rank or the coordinator in the middle of it.
  void run_and_stop(const std::string& whom, seconds pause) {
    Running coordinator(run_arguments(scratch_ / "job.json", scratch_ / "store", 2), {{"QUENCH_STOPPED_TEST", "1"}},
                        scratch_ / "err.txt");
    ASSERT_TRUE(wait_for([&] { return count(log(), " of 5") >= 8 || coordinator.ended(); }));
    ASSERT_FALSE(coordinator.ended()) << "it ended before it could be stopped";
    const std::vector<pid_t> processes = processes_with("QUENCH_STOPPED_TEST=1", whom);
    ASSERT_FALSE(processes.empty());
    const pid_t process = processes[random_() % processes.size()];
    ASSERT_EQ(::kill(process, SIGSTOP), 0);
    const auto stopped = Clock::now();
    if (whom == "quench-worker" && pause > kNoticedWithin) {
      EXPECT_TRUE(wait_for([&] { return count(log(), "lost rank") > 0; }, pause)) << "nobody noticed";
      EXPECT_LT(Clock::now() - stopped, kNoticedWithin);
    }
    std::this_thread::sleep_until(stopped + pause);
    ::kill(process, SIGCONT);
    ASSERT_TRUE(wait_for([&] { return coordinator.ended(); })) << "it hangs";
    ASSERT_EQ(coordinator.wait(), 0);
    const Finished again = run(run_arguments(scratch_ / "job.json", scratch_ / "store", 1));
    EXPECT_EQ(digests_of(again), expected_);
    EXPECT_EQ(count(log(), "published still/"), 2u);
    EXPECT_TRUE(processes_with("QUENCH_STOPPED_TEST=1").empty()) << "a process outlived the job";
  }

  ScratchDirectory scratch_;
  std::vector<std::string> expected_;
  std::mt19937 random_{20261128};
};

TEST_F(Stopped, AShortPauseOfARankIsNoLoss) {
  run_and_stop("quench-worker", kShort);
  EXPECT_EQ(count(log(), "starting the gang again"), 0u);
}

TEST_F(Stopped, ALongPauseOfARankIsALossAndCostsAtMostABlock) {
  run_and_stop("quench-worker", kLong);
  EXPECT_EQ(count(log(), "starting the gang again"), 1u);
}

TEST_F(Stopped, ALongPauseOfTheCoordinatorEndsAtMostItsGang) { run_and_stop("quench", kLong); }

}  // namespace
}  // namespace quench::testing
