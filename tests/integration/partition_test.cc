// Several hosts, and lines between them that break: a gang and evaluation workers on network namespaces, cut off for
// longer than a silent peer is borne with, then healed. The job ends by itself with the bytes and verdicts of one that
// nobody disturbed, each published once. Where namespaces cannot be made the tests are skipped and say why, unless
// QUENCH_REQUIRE_NAMESPACES=1. Two faults each by default, because each run takes a minute; all with
// QUENCH_ALL_PARTITIONS=1.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/integration/small_job.h"
#include "tests/support/namespace_hosts.h"
#include "tests/support/waiting.h"

namespace quench::testing {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Longer than the 8 s after which a silent peer counts as lost.
constexpr seconds kCutOff{12};
// A gang that cannot gather is given up after 60 s; twice that, and the job itself on a busy machine.
constexpr seconds kPatience{240};

enum class Fault { black_hole, deaf, mute, flapping, half_lost };

std::string name_of(Fault fault) {
  switch (fault) {
    case Fault::black_hole: return "BlackHole";
    case Fault::deaf: return "Deaf";
    case Fault::mute: return "Mute";
    case Fault::flapping: return "Flapping";
    case Fault::half_lost: return "HalfLost";
  }
  return "";
}

// The example's model, which has memorised HumanEval; hot enough that answers differ from sample to sample.
nlohmann::json evaluation_job() {
  return {{"name", "far"},
          {"model", fixture("tiny_coder").string()},
          {"quantize", {{{"method", "rtn"}, {"bits", 3}, {"groupSize", 64}}}},
          {"evaluate",
           {{{"benchmark", "humaneval"},
             {"samples", 3},
             {"temperature", 0.6},
             {"maxTokens", 96},
             {"seed", 7},
             {"tasks", 60}}}}};
}

class Hosts : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    try {
      hosts_ = new NamespaceHosts({"head", "a", "b", "c"});
    } catch (const std::runtime_error& error) {
      missing_ = error.what();
    }
  }
  static void TearDownTestSuite() {
    delete hosts_;
    hosts_ = nullptr;
  }
  void SetUp() override {
    const char* const required = std::getenv("QUENCH_REQUIRE_NAMESPACES");
    if (hosts_ == nullptr && required != nullptr && std::string(required) == "1")
      FAIL() << "QUENCH_REQUIRE_NAMESPACES=1 but " << missing_;
    if (hosts_ == nullptr) GTEST_SKIP() << "network namespaces: " << missing_;
  }
  void TearDown() override {
    if (HasFailure()) std::cerr << read_text(scratch_ / "err.txt") << log();
  }

  std::string log() const { return log_of(scratch_ / "store"); }
  std::vector<std::string> run_on_head(int ranks, const std::vector<std::string>& more) {
    auto arguments = run_arguments(scratch_ / "job.json", scratch_ / "store", ranks);
    arguments.insert(arguments.end(), {"--threads", "1", "--plain-network", "--listen"});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return hosts_->on("head", arguments);
  }
  std::string kept_lines(const std::filesystem::path& store) {
    std::string all;
    for (const char* artifact : {"far/none", "far/rtn-3bit-g64-sym"}) {
      const Finished lines = run({quench_program(), "artifacts", "completions", artifact, "--store", store.string()});
      EXPECT_EQ(lines.exit_code, 0) << lines.err;
      all += lines.out;
    }
    return all;
  }

  static NamespaceHosts* hosts_;
  static std::string missing_;
  ScratchDirectory scratch_;
};
NamespaceHosts* Hosts::hosts_ = nullptr;
std::string Hosts::missing_;

class Partition : public Hosts, public ::testing::WithParamInterface<Fault> {
 protected:
  // Of this fault in the short form.
  static bool left_out(std::initializer_list<Fault> short_form) {
    const char* const all = std::getenv("QUENCH_ALL_PARTITIONS");
    return (all == nullptr || std::string(all) != "1") &&
           std::find(short_form.begin(), short_form.end(), GetParam()) == short_form.end();
  }
  // Cuts `host` off for kCutOff and heals it.
  void disturb(const std::string& host) {
    const auto end = Clock::now() + kCutOff;
    switch (GetParam()) {
      case Fault::black_hole: hosts_->cut(host, Cut::black_hole); break;
      case Fault::deaf: hosts_->cut(host, Cut::deaf); break;
      case Fault::mute: hosts_->cut(host, Cut::mute); break;
      case Fault::half_lost: hosts_->cut(host, Cut::half_lost); break;
      case Fault::flapping:
        while (Clock::now() < end) {
          hosts_->cut(host, Cut::black_hole);
          std::this_thread::sleep_for(milliseconds(900));
          hosts_->heal(host);
          std::this_thread::sleep_for(milliseconds(400));
        }
        return;
    }
    std::this_thread::sleep_until(end);
    hosts_->heal(host);
  }
};

TEST_P(Partition, OfAGangsHostCostsTimeOnly) {
  if (left_out({Fault::black_hole, Fault::half_lost})) GTEST_SKIP() << "only with QUENCH_ALL_PARTITIONS=1";
  nlohmann::json job = small_job();
  job["name"] = "far";
  job["quantize"] = {{{"method", "gptq"}, {"bits", 4}, {"groupSize", 32}},
                     {{"method", "gptq"}, {"bits", 3}, {"groupSize", -1}, {"symmetric", false}, {"actOrder", true}}};
  job["calibration"]["sequences"] = 400;
  job["calibration"]["length"] = 256;
  write_text(scratch_ / "job.json", job.dump());
  const Finished here = run(run_arguments(scratch_ / "job.json", scratch_ / "here", 2));
  ASSERT_EQ(here.exit_code, 0) << here.err;

  Running coordinator(run_on_head(2, {hosts_->address("head") + ":4711", "--hosts", "a:1,b:1"}),
                      {{"OMPI_MCA_plm_rsh_agent", hosts_->agent()}}, scratch_ / "err.txt");
  ASSERT_TRUE(wait_for([&] { return count(log(), " of 5") >= 8 || coordinator.ended(); })) << "no block";
  ASSERT_FALSE(coordinator.ended()) << "it ended before it could be disturbed";
  disturb("b");
  ASSERT_TRUE(wait_for([&] { return coordinator.ended(); })) << "it hangs";
  ASSERT_EQ(coordinator.wait(), 0);
  const std::string told = log();
  EXPECT_EQ(count(told, "published far/"), 3u) << told;
  const Finished again = run(run_arguments(scratch_ / "job.json", scratch_ / "store", 1));
  EXPECT_NE(again.err.find("done before"), std::string::npos) << again.err;
  EXPECT_EQ(digests_of(again), digests_of(here));
  EXPECT_EQ(run({quench_program(), "artifacts", "verify", "--store", scratch_ / "store"}).exit_code, 0);
  if (GetParam() == Fault::black_hole) {
    EXPECT_NE(told.find("starting the gang again"), std::string::npos) << told;
  }
}

// Workers of other hosts come by address and secret alone; one is cut off, one killed, one joins late.
TEST_P(Partition, OfEvaluationWorkersLosesNoVerdictAndKeepsNoneTwice) {
  if (left_out({Fault::deaf, Fault::flapping})) GTEST_SKIP() << "only with QUENCH_ALL_PARTITIONS=1";
  const nlohmann::json job = evaluation_job();
  write_text(scratch_ / "job.json", job.dump());
  const Finished here = run(run_arguments(scratch_ / "job.json", scratch_ / "here", 2));
  ASSERT_EQ(here.exit_code, 0) << here.err;

  std::mt19937 random(20261128 + static_cast<unsigned>(GetParam()));
  const std::string address = hosts_->address("head") + ":4712";
  const auto worker = [&](const std::string& host) {
    return std::make_unique<Running>(
        hosts_->on(host, {worker_program(), "--threads", "1", "evaluate", "--coordinator", address, "--secret-file",
                          (scratch_ / "store/join/secret").string(), "--wait", "60"}),
        Environment{}, scratch_ / "err.txt");
  };
  Running coordinator(run_on_head(1, {address}), {}, scratch_ / "err.txt");
  const auto cut_off = worker("a");
  const auto killed = worker("b");
  ASSERT_TRUE(wait_for([&] { return count(log(), "humaneval: ") >= 2 || coordinator.ended(); })) << "no verdict";
  ASSERT_FALSE(coordinator.ended()) << "it ended before it could be disturbed";
  std::thread killer([&] {
    std::this_thread::sleep_for(milliseconds(random() % 1500));
    for (const pid_t process : processes_with(hosts_->mark("b"), "quench-worker")) ::kill(process, SIGKILL);
  });
  disturb("a");
  killer.join();
  const auto late = worker("c");
  ASSERT_TRUE(wait_for([&] { return coordinator.ended(); })) << "it hangs";
  ASSERT_EQ(coordinator.wait(), 0);
  EXPECT_GE(count(log(), "an evaluation worker joined from"), 2u);
  const std::string lines = kept_lines(scratch_ / "store");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 360);
  EXPECT_EQ(lines, kept_lines(scratch_ / "here"));
  EXPECT_EQ(run({quench_program(), "artifacts", "verify", "--store", scratch_ / "store"}).exit_code, 0);
}

// Evaluation workers run where the gang ran; one that is killed takes none of the others with it.
TEST_F(Hosts, KeepEvaluatingWhenOneWorkerIsKilled) {
  const nlohmann::json job = evaluation_job();
  write_text(scratch_ / "job.json", job.dump());
  const Finished here = run(run_arguments(scratch_ / "job.json", scratch_ / "here", 2));
  ASSERT_EQ(here.exit_code, 0) << here.err;
  Running coordinator(run_on_head(2, {hosts_->address("head") + ":4713", "--hosts", "a:1,b:1"}),
                      {{"OMPI_MCA_plm_rsh_agent", hosts_->agent()}}, scratch_ / "err.txt");
  ASSERT_TRUE(wait_for([&] { return count(log(), "humaneval: ") >= 2 || coordinator.ended(); })) << "no verdict";
  // Two where it is just starting a sandbox.
  const std::vector<pid_t> workers = processes_with(hosts_->mark("b"), "quench-worker");
  ASSERT_GE(workers.size(), 1u);
  for (const pid_t worker : workers) ::kill(worker, SIGKILL);
  ASSERT_TRUE(wait_for([&] { return coordinator.ended(); })) << "it hangs";
  ASSERT_EQ(coordinator.wait(), 0);
  EXPECT_GE(count(log(), "lost evaluation worker 1"), 1u);
  EXPECT_EQ(count(log(), "lost evaluation worker 0"), 0u) << log();
  EXPECT_EQ(kept_lines(scratch_ / "store"), kept_lines(scratch_ / "here"));
}

INSTANTIATE_TEST_SUITE_P(Every, Partition,
                         ::testing::Values(Fault::black_hole, Fault::deaf, Fault::mute, Fault::flapping, Fault::half_lost),
                         [](const auto& fault) { return name_of(fault.param); });

}  // namespace
}  // namespace quench::testing
