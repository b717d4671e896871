// The NCCL transport at several ranks over a fake link (NCCL refuses two ranks on one GPU), and NCCL itself at one rank
// where there is a GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "cluster/collective/local.h"
#include "cluster/collective/nccl_transport.h"
#include "cluster/collective/peer_collective.h"
#include "tests/cluster/collective/collective_cases.h"

namespace quench::cluster {
namespace {

using ::testing::AllOf;
using testing::collective_cases;
using testing::CollectiveCase;
using ::testing::HasSubstr;

constexpr std::size_t kTrailerBytes = 16;

// What the ranks' fakes share: messages between each pair, in order.
struct FakeFabric {
  std::mutex mutex;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::deque<Bytes>> mail;
};

// As NCCL does it: nothing is complete at once, an operation needs several polls, and a receive waits for ever.
class FakeLink final : public NcclLink {
 public:
  FakeLink(FakeFabric& fabric, std::uint32_t rank, std::uint32_t world, std::size_t bytes_max, int& aborts)
      : fabric_(fabric), rank_(rank), world_(world), bytes_max_(bytes_max), aborts_(aborts) {}
  std::uint32_t rank() const override { return rank_; }
  std::uint32_t world() const override { return world_; }
  std::size_t bytes_max() const override { return bytes_max_; }
  void start(std::uint32_t to, std::span<const std::uint8_t> out, std::uint32_t from,
             std::span<std::uint8_t> in) override {
    ASSERT_FALSE(aborted_);
    const std::lock_guard lock(fabric_.mutex);
    if (!out.empty()) fabric_.mail[{rank_, to}].emplace_back(out.begin(), out.end());
    from_ = from;
    in_ = in;
    polls_left_ = 2;
  }
  bool poll() override {
    EXPECT_FALSE(aborted_);
    if (fails_) throw Error(ErrorCode::failed, "ncclCommGetAsyncError: unhandled system error: the wire was cut");
    if (polls_left_ > 0) {
      --polls_left_;
      return false;
    }
    if (in_.empty()) return true;
    const std::lock_guard lock(fabric_.mutex);
    auto& mail = fabric_.mail[{from_, rank_}];
    if (mail.empty()) return false;
    // NCCL does not compare sizes: a longer message would be cut, a shorter one leave the rest as it was.
    const std::size_t bytes = std::min(in_.size(), mail.front().size());
    std::copy_n(mail.front().begin(), bytes, in_.begin());
    mail.pop_front();
    in_ = {};
    return true;
  }
  void abort() noexcept override {
    EXPECT_FALSE(aborted_) << "aborted twice";
    aborted_ = true;
    ++aborts_;
  }
  void fail() { fails_ = true; }

 private:
  FakeFabric& fabric_;
  std::uint32_t rank_, world_;
  std::size_t bytes_max_;
  int& aborts_;
  std::uint32_t from_ = 0;
  std::span<std::uint8_t> in_;
  int polls_left_ = 2;
  bool aborted_ = false;
  bool fails_ = false;
};

struct RankResult {
  std::optional<Error> error;
  int aborts = 0;
};

// `body` on `world` threads, each a rank over the fake.
std::vector<RankResult> run_fake_gang(std::uint32_t world, const CollectiveOptions& options,
                                      const std::function<void(Collective&, FakeLink&)>& body) {
  FakeFabric fabric;
  std::vector<RankResult> results(world);
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t rank = 0; rank < world; ++rank)
      threads.emplace_back([&, rank] {
        try {
          auto link = std::make_unique<FakeLink>(fabric, rank, world, options.segment_bytes + kTrailerBytes,
                                                 results[rank].aborts);
          FakeLink& fake = *link;
          PeerCollective gang(make_nccl_transport(std::move(link), options), options);
          body(gang, fake);
        } catch (const Error& error) {
          results[rank].error = error;
        }
      });
  }
  return results;
}

class NcclCase : public ::testing::TestWithParam<CollectiveCase> {};
TEST_P(NcclCase, HoldsOnOneToSevenRanksOverAFakeLink) {
  for (const std::uint32_t world : {1u, 2u, 3u, 4u, 7u}) {
    SCOPED_TRACE(world);
    const auto results =
        run_fake_gang(world, {.segment_bytes = testing::kCaseSegmentBytes},
                      [](Collective& gang, FakeLink&) { GetParam().run(gang); });
    for (const RankResult& result : results) {
      EXPECT_FALSE(result.error) << result.error->what();
      EXPECT_EQ(result.aborts, 0);
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Nccl, NcclCase, ::testing::ValuesIn(collective_cases()),
                         [](const auto& case_info) { return case_info.param.name; });

TEST(NcclTransport, ARankThatDoesNotComeTimesOutAndAbortsTheCommunicator) {
  const auto results = run_fake_gang(3, {.progress_ms_max = 50}, [](Collective& gang, FakeLink&) {
    if (gang.rank() != 1) gang.barrier("hessian q_proj");
  });
  ASSERT_TRUE(results[2].error);
  EXPECT_EQ(results[2].error->code(), ErrorCode::timed_out);
  EXPECT_THAT(results[2].error->what(), AllOf(HasSubstr("barrier \"hessian q_proj\""),
                                              HasSubstr("no progress for 50 ms"), HasSubstr("waiting for rank 1")));
  EXPECT_EQ(results[2].aborts, 1);
  EXPECT_EQ(results[1].aborts, 0);
}

TEST(NcclTransport, TheAbortFlagEndsAWaitWithItsReason) {
  AbortFlag abort;
  const auto results = run_fake_gang(2, {.abort = &abort}, [&](Collective& gang, FakeLink&) {
    if (gang.rank() == 0) return gang.barrier("forward");
    abort.set(Error(ErrorCode::interrupted, "the coordinator is lost"));
  });
  ASSERT_TRUE(results[0].error);
  EXPECT_EQ(results[0].error->code(), ErrorCode::interrupted);
  EXPECT_THAT(results[0].error->what(), HasSubstr("the coordinator is lost"));
  EXPECT_EQ(results[0].aborts, 1);
}

TEST(NcclTransport, AnErrorOfNcclIsToldInItsWordsAndEveryLaterCallThrowsIt) {
  const auto results = run_fake_gang(2, {}, [](Collective& gang, FakeLink& link) {
    if (gang.rank() == 1) return;
    link.fail();
    EXPECT_THROW(gang.barrier("first"), Error);
    gang.barrier("second");
  });
  ASSERT_TRUE(results[0].error);
  EXPECT_THAT(results[0].error->what(), AllOf(HasSubstr("the wire was cut"), HasSubstr("first")));
  EXPECT_EQ(results[0].aborts, 1);
}

TEST(NcclTransport, RanksInDifferentOperationsFailInsteadOfMixingTensors) {
  const auto results = run_fake_gang(2, {.progress_ms_max = 200}, [](Collective& gang, FakeLink&) {
    if (gang.rank() == 0) gang.barrier("one more");
    std::vector<std::int64_t> values(5000, 1);
    gang.all_reduce_sum(values, "hessian");
  });
  EXPECT_TRUE(results[0].error || results[1].error);
  for (const RankResult& result : results) {
    if (result.error && result.error->code() != ErrorCode::timed_out) {
      EXPECT_THAT(result.error->what(), HasSubstr("another operation"));
    }
  }
}

TEST(NcclTransport, ACommunicatorThatNeverComesUpTimesOut) {
  FakeFabric fabric;
  int aborts = 0;
  class Never final : public NcclLink {
   public:
    explicit Never(int& count) : aborts(count) {}
    std::uint32_t rank() const override { return 0; }
    std::uint32_t world() const override { return 4; }
    std::size_t bytes_max() const override { return kSegmentBytes + kTrailerBytes; }
    void start(std::uint32_t, std::span<const std::uint8_t>, std::uint32_t, std::span<std::uint8_t>) override {}
    bool poll() override { return false; }
    void abort() noexcept override { ++aborts; }
    int& aborts;
  };
  try {
    make_nccl_transport(std::make_unique<Never>(aborts), {.progress_ms_max = 30});
    FAIL() << "a communicator that never came up was used";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::timed_out);
    EXPECT_THAT(error.what(), HasSubstr("communicator of 4 ranks"));
  }
  EXPECT_EQ(aborts, 1);
}

// The real library, one rank: it sends to itself.
TEST(Nccl, OneRankMovesBytesThroughTheGpu) {
  const char* required = std::getenv("QUENCH_REQUIRE_CUDA");
  const auto local = make_local_collective();
  CollectiveOptions options;
  options.progress_ms_max = 20'000;
  std::unique_ptr<Collective> gang;
  try {
    gang = make_nccl_collective(*local, 0, options);
  } catch (const Error& error) {
    if (required != nullptr && std::string(required) == "1") FAIL() << error.what();
    EXPECT_NE(std::string(error.what()), "");
    GTEST_SKIP() << error.what();
  }
  for (const CollectiveCase& one : collective_cases()) one.run(*gang);
  // The cases of one rank send nothing: this does.
  auto link = make_nccl_link(make_nccl_id(), 0, 1, 0, options.segment_bytes + kTrailerBytes);
  const auto transport = make_nccl_transport(std::move(link), options);
  for (const std::size_t size : {std::size_t{1}, std::size_t{1000}, options.segment_bytes}) {
    Bytes sent(size), received(size, 0);
    for (std::size_t i = 0; i < size; ++i) sent[i] = static_cast<std::uint8_t>(i * 7 + size);
    transport->exchange({0, sent}, {0, received}, 5);
    EXPECT_EQ(sent, received) << size;
  }
}

}  // namespace
}  // namespace quench::cluster
