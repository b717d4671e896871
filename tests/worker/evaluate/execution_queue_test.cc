// Generation and execution overlap, and nothing is lost or delivered twice when one of them is slow, fails
// or ends. No sleeps: threads wait for each other, and a queue that did not overlap would wait for ever.
#include "worker/evaluate/execution_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <stdexcept>

namespace quench::worker {
namespace {

GeneratedLease lease(std::uint64_t id) {
  GeneratedLease one;
  one.grant.lease = LeaseId{id};
  one.grant.items = {{static_cast<std::uint32_t>(id), 0}};
  one.texts = {{"text", 1}};
  return one;
}

TEST(ExecutionQueue, TheNextLeaseIsGeneratedWhileTheLastOneIsExecuted) {
  std::promise<void> second_is_generated;
  std::future<void> wait_for_second = second_is_generated.get_future();
  std::vector<std::uint64_t> done;
  ExecutionQueue queue(
      [&](const GeneratedLease& one) {
        // The first lease's execution ends only once the second one was generated and queued.
        if (one.grant.lease.value == 1) wait_for_second.wait();
        done.push_back(one.grant.lease.value);
      },
      {});
  queue.put(lease(1));
  queue.put(lease(2));
  second_is_generated.set_value();
  queue.finish();
  EXPECT_EQ(done, (std::vector<std::uint64_t>{1, 2}));
}

TEST(ExecutionQueue, IsBounded) {
  std::promise<void> go;
  std::shared_future<void> gone = go.get_future().share();
  std::atomic<int> executed{0};
  std::atomic<int> queued{0};
  ExecutionQueue queue(
      [&](const GeneratedLease&) {
        gone.wait();
        ++executed;
      },
      {});
  std::thread generator([&] {
    for (std::uint64_t id = 1; id <= 5; ++id) {
      queue.put(lease(id));
      ++queued;
    }
  });
  // One is executed, one waits, and the third does not fit: no order of the threads lets it in.
  while (queued < 2) std::this_thread::yield();
  for (int turn = 0; turn < 1000; ++turn) std::this_thread::yield();
  EXPECT_EQ(queued, 2);
  EXPECT_EQ(executed, 0);
  go.set_value();
  generator.join();
  queue.finish();
  EXPECT_EQ(executed, 5);
}

TEST(ExecutionQueue, AFailureReachesTheGeneratorAndIsToldOnce) {
  std::atomic<int> told{0};
  std::atomic<int> executed{0};
  std::promise<void> failed;
  ExecutionQueue queue(
      [&](const GeneratedLease& one) {
        ++executed;
        if (one.grant.lease.value == 2) throw std::runtime_error("the sandbox broke");
      },
      [&](const std::exception_ptr&) {
        ++told;
        failed.set_value();
      });
  queue.put(lease(1));
  queue.put(lease(2));
  failed.get_future().wait();
  EXPECT_THROW(queue.put(lease(3)), std::runtime_error);
  EXPECT_THROW(queue.finish(), std::runtime_error);
  EXPECT_EQ(told, 1);
  EXPECT_EQ(executed, 2);
}

TEST(ExecutionQueue, DestroyedWithWorkItEndsWhatRunsAndDropsWhatWaits) {
  std::atomic<int> executed{0};
  {
    std::promise<void> begun;
    ExecutionQueue queue(
        [&](const GeneratedLease& one) {
          if (one.grant.lease.value == 1) begun.set_value();
          ++executed;
        },
        {});
    queue.put(lease(1));
    begun.get_future().wait();
  }
  EXPECT_EQ(executed, 1);
}

}  // namespace
}  // namespace quench::worker
