#include "cluster/collective/thread_gang.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "cluster/collective/local.h"
#include "tests/cluster/collective/collective_cases.h"

namespace quench::cluster {
namespace {

using ::testing::AllOf;
using testing::collective_cases;
using testing::CollectiveCase;
using ::testing::HasSubstr;

class ThreadGangCase : public ::testing::TestWithParam<CollectiveCase> {};

TEST_P(ThreadGangCase, HoldsOnOneToSevenRanks) {
  for (const std::uint32_t world : {1u, 2u, 3u, 4u, 7u}) {
    SCOPED_TRACE(world);
    run_thread_gang(world, {.segment_bytes = testing::kCaseSegmentBytes}, GetParam().run);
  }
}
INSTANTIATE_TEST_SUITE_P(ThreadGang, ThreadGangCase, ::testing::ValuesIn(collective_cases()),
                         [](const auto& case_info) { return case_info.param.name; });

TEST(LocalCollective, HoldsEveryCase) {
  const auto local = make_local_collective();
  EXPECT_EQ(local->world(), 1u);
  for (const CollectiveCase& one : collective_cases()) one.run(*local);
}

Error error_of(std::uint32_t world, const CollectiveOptions& options,
               const std::function<void(Collective&)>& body) {
  try {
    run_thread_gang(world, options, body);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorCode::internal, "nothing was thrown");
}

TEST(ThreadGang, ARankThatDoesNotComeIsNamedAndTimesOut) {
  const Error error = error_of(3, {.progress_ms_max = 50}, [](Collective& gang) {
    if (gang.rank() != 1) gang.barrier("hessian q_proj");
  });
  EXPECT_EQ(error.code(), ErrorCode::timed_out);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("barrier \"hessian q_proj\""), HasSubstr("no progress for 50 ms"),
                                  HasSubstr("waiting for rank 1")));
}

TEST(ThreadGang, OneRanksErrorEndsTheOthersWaitsAndIsTheOneReported) {
  std::atomic<int> ended{0};
  const Error error = error_of(4, {}, [&](Collective& gang) {
    if (gang.rank() == 2) throw Error(ErrorCode::bad_input, "layer 3 has NaN weights");
    try {
      gang.barrier("solve");
    } catch (const Error&) {
      ++ended;
      throw;
    }
  });
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
  EXPECT_EQ(ended, 3);
}

TEST(ThreadGang, AbortFlagEndsAWaitWithItsReason) {
  AbortFlag abort;
  const Error error = error_of(2, {.abort = &abort}, [&](Collective& gang) {
    if (gang.rank() == 0) return gang.barrier("forward");
    abort.set(Error(ErrorCode::interrupted, "the coordinator is lost"));
    abort.set(Error(ErrorCode::failed, "a later consequence"));
  });
  EXPECT_EQ(error.code(), ErrorCode::interrupted);
  EXPECT_THAT(error.what(), HasSubstr("rank 0: barrier \"forward\": the coordinator is lost"));
}

TEST(ThreadGang, AfterAThrowEveryCallThrowsTheSame) {
  error_of(2, {.progress_ms_max = 20}, [](Collective& gang) {
    if (gang.rank() == 1) return;
    EXPECT_THROW(gang.barrier("first"), Error);
    try {
      gang.barrier("second");
      ADD_FAILURE() << "a broken collective went on";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("first"));
      throw;
    }
  });
}

TEST(ThreadGang, RanksInDifferentOperationsFailInsteadOfMixingTensors) {
  const Error error = error_of(2, {}, [](Collective& gang) {
    std::vector<std::int64_t> values(5000, 1);
    if (gang.rank() == 0) gang.barrier("one more");
    gang.all_reduce_sum(values, "hessian");
  });
  EXPECT_EQ(error.code(), ErrorCode::internal);
  EXPECT_THAT(error.what(), HasSubstr("another operation"));
}

}  // namespace
}  // namespace quench::cluster
