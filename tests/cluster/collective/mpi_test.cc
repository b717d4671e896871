// Runs under mpirun at 1, 2, 3 and 4 ranks. A case that fails on one rank fails on all of them, so the
// gang ends together and no rank is left waiting.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <iostream>
#include <optional>
#include <thread>

#include "cluster/collective/mpi_session.h"
#include "tests/cluster/collective/collective_cases.h"

namespace quench::cluster {
namespace {

using Clock = std::chrono::steady_clock;
using testing::collective_cases;
using testing::CollectiveCase;

// Set in main, as GoogleTest gives tests no other way in.
Collective* gang_of_process = nullptr;
Collective* small_segment_gang = nullptr;

class MpiCase : public ::testing::TestWithParam<CollectiveCase> {};
TEST_P(MpiCase, Holds) { GetParam().run(*small_segment_gang); }
INSTANTIATE_TEST_SUITE_P(Mpi, MpiCase, ::testing::ValuesIn(collective_cases()),
                         [](const auto& case_info) { return case_info.param.name; });

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

TEST(Mpi, WaitingLeavesTheCoreFree) {
  Collective& gang = *gang_of_process;
  if (gang.world() == 1) GTEST_SKIP() << "one rank waits for nobody";
  gang.barrier("before");
  // The last rank is late; the others wait for it. This is the one place where time itself is the subject.
  if (gang.rank() + 1 == gang.world()) std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  const double before = cpu_seconds();
  gang.barrier("late");
  const double used = cpu_seconds() - before;
  if (gang.rank() == 0) {
    std::cout << "waited 1.5 s with " << used * 1000 << " ms of CPU\n";
    EXPECT_LT(used, 0.15);
  }
}

TEST(Mpi, LargeSumsMoveAtMemorySpeed) {
  Collective& gang = *gang_of_process;
  if (gang.world() == 1) GTEST_SKIP() << "one rank moves nothing";
  std::vector<std::int64_t> values(8 << 20, gang.rank());  // 64 MiB
  gang.barrier("before");
  const auto start = Clock::now();
  gang.all_reduce_sum(values, "64 MiB");
  const std::chrono::duration<double> seconds = Clock::now() - start;
  const std::int64_t expected = std::int64_t{gang.world()} * (gang.world() - 1) / 2;
  EXPECT_EQ(values.front(), expected);
  EXPECT_EQ(values.back(), expected);
  if (gang.rank() == 0)
    std::cout << "all_reduce of 64 MiB on " << gang.world() << " ranks: " << seconds.count() * 1000
              << " ms\n";
}

// Agrees on each test's outcome, so that all ranks fail together.
class TogetherListener final : public ::testing::EmptyTestEventListener {
  void OnTestEnd(const ::testing::TestInfo& test) override {
    std::vector<std::int32_t> failed{test.result()->Failed() ? 1 : 0};
    gang_of_process->all_reduce_max(failed, test.name());
    if (failed[0] != 0 && !test.result()->Failed()) ADD_FAILURE() << "failed on another rank";
  }
};

// `--wait-for-stopped`: the last rank stops itself (SIGSTOP) and the others must notice within the
// deadline. Exit 0 means they did; the launcher of the test then ends the gang.
int wait_for_stopped_rank(MpiSession& session) {
  const auto gang = session.make_collective({.progress_ms_max = 1000});
  gang->barrier("all here");
  if (gang->rank() + 1 == gang->world()) {
    std::raise(SIGSTOP);
    return 1;
  }
  const auto start = Clock::now();
  try {
    std::vector<std::int64_t> values(1000, 1);
    gang->all_reduce_sum(values, "hessian");
    std::cerr << "the sum ended without the stopped rank\n";
  } catch (const Error& error) {
    const std::chrono::duration<double> waited = Clock::now() - start;
    std::cerr << std::string(error.what()) + " after " + std::to_string(waited.count()) + " s\n";
    if (error.code() == ErrorCode::timed_out && waited.count() > 0.9 && waited.count() < 5) session.abort(42);
  }
  session.abort(1);
}

int run_main(int argc, char** argv) {
  MpiSession session;
  if (argc > 1 && std::string_view(argv[1]) == "--wait-for-stopped") return wait_for_stopped_rank(session);
  ::testing::InitGoogleTest(&argc, argv);
  const auto gang = session.make_collective({.progress_ms_max = 20'000});
  const auto small =
      session.make_collective({.progress_ms_max = 20'000, .segment_bytes = testing::kCaseSegmentBytes});
  gang_of_process = gang.get();
  small_segment_gang = small.get();
  auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
  listeners.Append(new TogetherListener);
  if (session.rank() != 0) delete listeners.Release(listeners.default_result_printer());
  const int failed = RUN_ALL_TESTS();
  if (failed != 0) session.abort(1);
  return 0;
}

}  // namespace
}  // namespace quench::cluster

int main(int argc, char** argv) {
  try {
    return quench::cluster::run_main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
