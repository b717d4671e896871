// Quench on a real Slurm that the test starts: whatever the batch system does to a job's allocation, the artifacts are
// those of a run on this machine. Where Slurm cannot be started the tests are skipped and say why, unless
// QUENCH_REQUIRE_SLURM=1.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "tests/integration/small_job.h"
#include "tests/support/slurm_cluster.h"
#include "tests/support/waiting.h"

namespace quench::testing {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

// A preempted job is back in a few seconds with this configuration; the rest is for a busy machine.
constexpr seconds kPatience{300};
// Slurm's processes get SIGKILL 30 s after SIGTERM by default.
constexpr seconds kDrainMax{25};

// Blocks take a second or more each on one core: time for things to happen.
nlohmann::json slow_job() {
  nlohmann::json job = small_job();
  job["name"] = "slow";
  job["quantize"] = {{{"method", "gptq"}, {"bits", 4}, {"groupSize", 32}},
                     {{"method", "gptq"}, {"bits", 3}, {"groupSize", -1}, {"symmetric", false}, {"actOrder", true}}};
  job["calibration"]["sequences"] = 800;
  job["calibration"]["length"] = 256;
  return job;
}

class Slurm : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    try {
      cluster_ = new SlurmCluster;
    } catch (const std::runtime_error& error) {
      missing_ = error.what();
    }
  }
  static void TearDownTestSuite() {
    delete cluster_;
    cluster_ = nullptr;
  }
  void SetUp() override {
    const char* const required = std::getenv("QUENCH_REQUIRE_SLURM");
    if (cluster_ == nullptr && required != nullptr && std::string(required) == "1")
      FAIL() << "QUENCH_REQUIRE_SLURM=1 but Slurm: " << missing_;
    if (cluster_ == nullptr) GTEST_SKIP() << "Slurm: " << missing_;
  }
  void TearDown() override {
    if (cluster_ == nullptr) return;
    if (HasFailure()) std::cerr << cluster_->queue() << cluster_->log() << read_text(scratch_ / "err.txt");
    cluster_->command({"scancel", "--user=root"});
    EXPECT_TRUE(wait_for([&] { return cluster_->queue().empty(); }, seconds(40))) << cluster_->queue();
  }

  // What the job gives on this machine, by mpirun.
  std::vector<std::string> expected(const nlohmann::json& job) {
    write_text(scratch_ / "job.json", job.dump());
    auto arguments = run_arguments(scratch_ / "job.json", scratch_ / "here", 2);
    arguments.insert(arguments.end(), {"--threads", "1"});
    const Finished here = run(arguments);
    EXPECT_EQ(here.exit_code, 0) << here.err;
    return digests_of(here);
  }
  std::vector<std::string> slurm_arguments(int ranks, const std::string& script = "") {
    auto arguments = run_arguments(scratch_ / "job.json", scratch_ / "store", ranks);
    arguments.insert(arguments.end(), {"--threads", "1", "--launcher", "slurm", "--listen", "127.0.0.1:0"});
    if (!script.empty()) {
      write_text(scratch_ / "site.sbatch", script);
      arguments.insert(arguments.end(), {"--slurm-template", scratch_ / "site.sbatch"});
    }
    return arguments;
  }
  void expect_the_same(const std::vector<std::string>& expected) {
    const Finished again = run(run_arguments(scratch_ / "job.json", scratch_ / "store", 1));
    ASSERT_EQ(again.exit_code, 0) << again.err;
    EXPECT_NE(again.err.find("done before"), std::string::npos) << again.err;
    EXPECT_EQ(digests_of(again), expected);
    EXPECT_EQ(run({quench_program(), "artifacts", "verify", "--store", scratch_ / "store"}).exit_code, 0);
  }
  bool blocks_committed(std::size_t blocks) { return count(log_of(scratch_ / "store"), " of 5") >= blocks + 1; }

  static SlurmCluster* cluster_;
  static std::string missing_;
  ScratchDirectory scratch_;
};
SlurmCluster* Slurm::cluster_ = nullptr;
std::string Slurm::missing_;

TEST_F(Slurm, GangAndEvaluationWorkersRunInTheQueueWithTheBuiltInTemplate) {
  nlohmann::json job = small_job();
  job["model"] = fixture("tiny_coder").string();
  job["quantize"] = {{{"method", "gptq"}, {"bits", 4}, {"groupSize", 64}}};
  job["evaluate"] = {{{"benchmark", "humaneval"}, {"maxTokens", 96}, {"tasks", 6}}};
  const auto digests = expected(job);
  const Finished there = run(slurm_arguments(2), cluster_->environment());
  ASSERT_EQ(there.exit_code, 0) << there.err << log_of(scratch_ / "store");
  EXPECT_EQ(digests_of(there), digests);
  // One job for the gang, one for the evaluation.
  EXPECT_EQ(count(there.err, "submitted to Slurm"), 2u) << there.err;
  expect_the_same(digests);
  EXPECT_TRUE(std::filesystem::is_empty(scratch_ / "store/gangs")) << "secrets and scripts go with their gang";
}

// Two ranks on one node: each sees one GPU, and not the other's. The GPUs are none, so the ranks compute without.
TEST_F(Slurm, EachRankSeesAGpuOfItsOwn) {
  nlohmann::json job = small_job();
  job["quantize"] = {{{"method", "rtn"}, {"bits", 4}, {"groupSize", 32}}};
  write_text(scratch_ / "job.json", job.dump());
  write_text(scratch_ / "see", "#!/bin/sh\necho \"rank $SLURM_PROCID: local $SLURM_LOCALID sees $CUDA_VISIBLE_DEVICES\" >> " +
                                   (scratch_ / "seen").string() + "\nunset QUENCH_BACKEND\nexec \"$@\"\n");
  std::filesystem::permissions(scratch_ / "see", std::filesystem::perms::owner_all);
  std::string script = read_text(std::filesystem::path(QUENCH_SOURCE_DIR) / "cluster/launch/slurm.sbatch");
  script.replace(script.find("srun {{srun_options}} {{command}}"), std::string::npos,
                 "srun {{srun_options}} " + (scratch_ / "see").string() + " {{command}}\n");
  script.insert(script.find("#SBATCH"), "#SBATCH --nodes=1\n");
  Environment environment = cluster_->environment();
  environment["QUENCH_BACKEND"] = "cuda";
  const Finished there = run(slurm_arguments(2, script), environment);
  ASSERT_EQ(there.exit_code, 0) << there.err << log_of(scratch_ / "store");
  const std::string seen = read_text(scratch_ / "seen");
  EXPECT_EQ(count(seen, "rank "), 2u) << seen;
  EXPECT_EQ(count(seen, "sees 0\n"), 1u) << seen;
  EXPECT_EQ(count(seen, "sees 1\n"), 1u) << seen;
}

// The ranks dial in over TLS, go on without their service when it is killed, and come back to the next one.
TEST_F(Slurm, AServiceSendsItsJobsThereAndFindsThemAgain) {
  const auto digests = expected(slow_job());
  ASSERT_EQ(run({"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=service", "-keyout",
                 scratch_ / "key.pem", "-out", scratch_ / "cert.pem"})
                .exit_code,
            0);
  write_text(scratch_ / "serve.json", nlohmann::json{{"store", (scratch_ / "store").string()}, {"slots", 2}, {"launcher", "slurm"},
                                                     {"workerListen", "127.0.0.1:0"}, {"tlsCertificate", "cert.pem"},
                                                     {"tlsKey", "key.pem"}}
                                          .dump());
  const auto ask = [&](std::vector<std::string> words) {
    words.insert(words.begin(), quench_program());
    words.insert(words.end(), {"--store", scratch_ / "store"});
    return run(words);
  };
  const auto start_service = [&] {
    auto service = std::make_unique<Running>(std::vector<std::string>{quench_program(), "serve", "--config", scratch_ / "serve.json"},
                                             cluster_->environment(), scratch_ / "err.txt");
    EXPECT_TRUE(wait_for([&] { return ask({"status"}).exit_code == 0; }, seconds(30))) << read_text(scratch_ / "err.txt");
    return service;
  };
  std::unique_ptr<Running> service = start_service();
  ASSERT_EQ(ask({"submit", scratch_ / "job.json", "--ranks", "2"}).exit_code, 0);
  ASSERT_TRUE(wait_for([&] { return blocks_committed(6); })) << log_of(scratch_ / "store");
  service->kill(SIGKILL);
  service->wait();
  service = start_service();
  const Finished watched = ask({"watch", "1"});
  EXPECT_EQ(watched.exit_code, 0) << watched.err << log_of(scratch_ / "store");
  const std::string log = log_of(scratch_ / "store");
  EXPECT_EQ(count(log, "submitted to Slurm"), 1u) << log;
  EXPECT_EQ(count(log, "ranks of attempt 1 are back and go on"), 1u) << log;
  EXPECT_NE(log.find("(tls://127.0.0.1:"), std::string::npos) << log;
  service->kill(SIGTERM);
  service->wait();
  expect_the_same(digests);
}

TEST_F(Slurm, MpirunInsideTheTemplateServesAsWell) {
  const auto digests = expected(small_job());
  const Finished there = run(slurm_arguments(2, "#!/bin/bash\n#SBATCH --ntasks={{ranks}}\n"
                                                "mpirun --allow-run-as-root --bind-to none {{command}}\n"),
                             cluster_->environment());
  ASSERT_EQ(there.exit_code, 0) << there.err << log_of(scratch_ / "store");
  EXPECT_EQ(digests_of(there), digests);
}

TEST_F(Slurm, APreemptedGangGoesOnOnFewerRanks) {
  const auto digests = expected(slow_job());
  Running coordinator(slurm_arguments(2, "#!/bin/bash\n#SBATCH --nodes=1-{{ranks}} --requeue\n"
                                         "srun {{srun_options}} {{command}}\n"),
                      cluster_->environment(), scratch_ / "err.txt");
  ASSERT_TRUE(wait_for([&] { return blocks_committed(7) || coordinator.ended(); }));
  ASSERT_FALSE(coordinator.ended());
  // Takes one of the two nodes until the end of the test.
  cluster_->submit({"--partition=high", "--nodes=1", "--exclusive", "--wrap=sleep 300"});
  ASSERT_TRUE(wait_for([&] { return coordinator.ended(); }));
  ASSERT_EQ(coordinator.wait(), 0);
  const std::string log = log_of(scratch_ / "store");
  EXPECT_EQ(count(log, "submitted to Slurm"), 1u) << "the job that Slurm put back serves the next attempt";
  EXPECT_GE(count(log, "back into its queue"), 1u);
  EXPECT_NE(log.find("going on after block"), std::string::npos);
  expect_the_same(digests);
  EXPECT_EQ(count(log, " on n[1-2]"), 1u) << log;
  EXPECT_EQ(count(log, " on n1") + count(log, " on n2"), 1u) << "and then one node, one rank";
}

TEST_F(Slurm, AtTheTimeLimitTheCoordinatorSubmitsAgain) {
  // Longer than the half minute within which Slurm looks at limits, in blocks of a second or two.
  nlohmann::json job = slow_job();
  job["calibration"]["sequences"] = 2400;
  job["quantize"] = nlohmann::json::array();
  for (const int bits : {4, 3, 2})
    for (const int group_size : {32, 64}) job["quantize"].push_back({{"method", "gptq"}, {"bits", bits}, {"groupSize", group_size}});
  const auto digests = expected(job);
  // The shortest limit is a minute; the signal that goes before it comes early, and in whole minutes or seconds as
  // Slurm sees fit.
  Running coordinator(slurm_arguments(2, "#!/bin/bash\n#SBATCH --ntasks={{ranks}} --time=1 --signal=TERM@55\n"
                                         "srun {{srun_options}} {{command}}\n"),
                      cluster_->environment(), scratch_ / "err.txt");
  ASSERT_TRUE(wait_for([&] { return coordinator.ended(); }));
  ASSERT_EQ(coordinator.wait(), 0);
  const std::string log = log_of(scratch_ / "store");
  EXPECT_GE(count(log, "submitted to Slurm"), 2u);
  EXPECT_GE(count(log, "met its time limit of 60 s"), 1u);
  expect_the_same(digests);
}

// Ranks that take no notice of time are ended by Slurm itself. Takes minutes.
TEST_F(Slurm, AtALimitWithoutASignalTheCoordinatorSubmitsAgainToo) {
  const char* const all = std::getenv("QUENCH_LONG_SLURM");
  if (all == nullptr || std::string(all) != "1") GTEST_SKIP() << "only with QUENCH_LONG_SLURM=1";
  nlohmann::json job = slow_job();
  job["calibration"]["sequences"] = 4000;
  const auto digests = expected(job);
  Running coordinator(slurm_arguments(1, "#!/bin/bash\n#SBATCH --ntasks={{ranks}} --time=1\n"
                                         "srun {{srun_options}} {{command}}\n"),
                      cluster_->environment(), scratch_ / "err.txt");
  ASSERT_TRUE(wait_for([&] { return coordinator.ended(); }, seconds(600)));
  ASSERT_EQ(coordinator.wait(), 0);
  EXPECT_GE(count(log_of(scratch_ / "store"), "met its time limit of 60 s"), 1u);
  expect_the_same(digests);
}

TEST_F(Slurm, ASignalIsObeyedWhileTheControllerIsAway) {
  const auto digests = expected(slow_job());
  {
    Running coordinator(slurm_arguments(2), cluster_->environment(), scratch_ / "err.txt");
    ASSERT_TRUE(wait_for([&] { return blocks_committed(7) || coordinator.ended(); }));
    ASSERT_FALSE(coordinator.ended());
    cluster_->signal_controller(SIGSTOP);
    coordinator.kill(SIGTERM);
    const auto asked = Clock::now();
    EXPECT_EQ(coordinator.wait(), 75);
    EXPECT_LT(Clock::now() - asked, kDrainMax);
    cluster_->signal_controller(SIGCONT);
  }
  // Its ranks have left by themselves.
  EXPECT_TRUE(wait_for([&] { return cluster_->queue().empty(); }, seconds(60))) << cluster_->queue();
  const Finished next = run(slurm_arguments(2), cluster_->environment());
  ASSERT_EQ(next.exit_code, 0) << next.err;
  EXPECT_EQ(digests_of(next), digests);
}

TEST_F(Slurm, ARunInsideAnAllocationUsesAllOfItAndIsRequeuedWithIt) {
  const auto digests = expected(slow_job());
  const std::string store = scratch_ / "store";
  write_text(scratch_ / "inside.sh", "#!/bin/bash\n#SBATCH --requeue --open-mode=append --output=" +
                                         (scratch_ / "err.txt").string() + "\nexec " + quench_program() + " run " +
                                         (scratch_ / "job.json").string() + " --store " + store + " --json\n");
  cluster_->submit({"--nodes=1-2", (scratch_ / "inside.sh").string()});
  ASSERT_TRUE(wait_for([&] { return blocks_committed(7); }));
  const auto preempted = Clock::now();
  cluster_->submit({"--partition=high", "--nodes=1", "--exclusive", "--wrap=sleep 300"});
  ASSERT_TRUE(wait_for([&] { return count(log_of(scratch_ / "store"), "stopping the gang") >= 1; }));
  EXPECT_TRUE(wait_for([&] { return cluster_->queue().find("inside.sh RUNNING") == std::string::npos; }, kDrainMax))
      << cluster_->queue();
  EXPECT_LT(Clock::now() - preempted, kDrainMax);
  ASSERT_TRUE(wait_for([&] { return cluster_->queue().find("inside.sh") == std::string::npos; }));
  const std::string log = log_of(scratch_ / "store");
  EXPECT_EQ(count(log, ": 2 ranks on n[1-2]"), 1u) << log;
  EXPECT_EQ(count(log, ": 1 ranks on n"), 1u) << log;
  expect_the_same(digests);
}

TEST_F(Slurm, WhatAKilledCoordinatorLeftIsCancelledByTheNext) {
  const auto digests = expected(slow_job());
  {
    Running coordinator(slurm_arguments(2), cluster_->environment(), scratch_ / "err.txt");
    ASSERT_TRUE(wait_for([&] { return blocks_committed(2) || coordinator.ended(); }));
    coordinator.kill(SIGKILL);
    coordinator.wait();
  }
  // One that still waits would begin when nobody expects it.
  const Finished next = run(slurm_arguments(1), cluster_->environment());
  ASSERT_EQ(next.exit_code, 0) << next.err;
  EXPECT_EQ(digests_of(next), digests);
  EXPECT_TRUE(wait_for([&] { return cluster_->queue().empty(); }, seconds(20))) << cluster_->queue();
}

TEST_F(Slurm, SignalsAndCancelsLeaveAJobThatCanGoOn) {
  const auto digests = expected(slow_job());
  {
    Running coordinator(slurm_arguments(2), cluster_->environment(), scratch_ / "err.txt");
    ASSERT_TRUE(wait_for([&] { return blocks_committed(2) || coordinator.ended(); }));
    coordinator.kill(SIGTERM);
    const auto asked = Clock::now();
    EXPECT_EQ(coordinator.wait(), 75);
    EXPECT_LT(Clock::now() - asked, kDrainMax);
    EXPECT_TRUE(wait_for([&] { return cluster_->queue().empty(); }, seconds(20))) << cluster_->queue();
  }
  {
    Running coordinator(slurm_arguments(2), cluster_->environment(), scratch_ / "err.txt");
    ASSERT_TRUE(wait_for([&] { return cluster_->queue().find("RUNNING") != std::string::npos; }));
    const std::string queue = cluster_->queue();
    cluster_->command({"scancel", queue.substr(0, queue.find(' '))});
    EXPECT_EQ(coordinator.wait(), 75);
    EXPECT_NE(read_text(scratch_ / "err.txt").find("was cancelled in Slurm"), std::string::npos);
  }
  const Finished next = run(slurm_arguments(1), cluster_->environment());
  ASSERT_EQ(next.exit_code, 0) << next.err;
  EXPECT_EQ(digests_of(next), digests);
}

TEST_F(Slurm, WhatSlurmRefusesIsAnErrorOfTheTemplate) {
  write_text(scratch_ / "job.json", small_job().dump());
  const Finished refused = run(slurm_arguments(2, "#!/bin/bash\n#SBATCH --ntasks={{ranks}} --partition=nowhere\n"
                                                  "srun {{srun_options}} {{command}}\n"),
                               cluster_->environment());
  EXPECT_EQ(refused.exit_code, 2) << refused.err;
  EXPECT_NE(refused.err.find("site.sbatch"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("nvalid partition"), std::string::npos) << refused.err;
}

}  // namespace
}  // namespace quench::testing
