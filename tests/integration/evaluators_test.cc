// Evaluation by processes that come and go: whatever is killed by kill -9, and whoever joins late, the job ends
// with the same completions and verdicts as one that nobody disturbed, each kept once.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <iostream>
#include <random>
#include <regex>
#include <sstream>
#include <thread>

#include "tests/integration/small_job.h"
#include "tests/support/waiting.h"

namespace quench::testing {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kKills = 8;
// A worker holds one lease that it generates, one that waits and one that is executed; of the last two the coordinator has
// the texts, so that of no more than one lease anything is generated again.
constexpr int kLeasesHeldMax = 3;
constexpr int kLeaseItems = 32;

// The example's model, which has memorised HumanEval; hot enough that answers differ from sample to sample.
nlohmann::json evaluation_job() {
  return {{"name", "fan-out"},
          {"model", fixture("tiny_coder").string()},
          {"quantize", {{{"method", "rtn"}, {"bits", 3}, {"groupSize", 64}}}},
          {"evaluate",
           {{{"benchmark", "humaneval"},
             {"samples", 2},
             {"temperature", 0.6},
             {"maxTokens", 96},
             {"seed", 7},
             {"tasks", 40}}}}};
}

// Verdicts of both artifacts, without their times: what must not depend on who was killed.
std::string kept_lines(const std::filesystem::path& store) {
  std::string all;
  for (const char* artifact : {"fan-out/none", "fan-out/rtn-3bit-g64-sym"}) {
    const Finished lines =
        run({quench_program(), "artifacts", "completions", artifact, "--store", store.string()});
    EXPECT_EQ(lines.exit_code, 0) << lines.err;
    all += lines.out;
  }
  return all;
}

std::size_t log_lines(const std::filesystem::path& store, const std::string& word) { return count(log_of(store), word); }

class Evaluators : public ::testing::Test {
 protected:
  // The scores and the kept lines of a job that nobody disturbs; made once.
  static void SetUpTestSuite() {
    scratch_ = new ScratchDirectory;
    write_text(*scratch_ / "job.json", evaluation_job().dump());
    const Finished untouched = run(run_arguments(*scratch_ / "job.json", *scratch_ / "untouched", 2));
    ASSERT_EQ(untouched.exit_code, 0) << untouched.err;
    expected_report_ = scores_of(untouched);
    expected_lines_ = kept_lines(*scratch_ / "untouched");
    ASSERT_EQ(std::count(expected_lines_.begin(), expected_lines_.end(), '\n'), 160);
  }
  static void TearDownTestSuite() { delete scratch_; }

  static nlohmann::json scores_of(const Finished& finished) {
    const nlohmann::json report = nlohmann::json::parse(finished.out, nullptr, false);
    EXPECT_TRUE(report.is_object()) << finished.out << finished.err;
    nlohmann::json scores = nlohmann::json::array();
    if (report.is_object())
      for (const auto& artifact : report["artifacts"]) {
        scores.push_back(artifact["digest"]);
        for (const auto& evaluation : artifact["evaluations"]) scores.push_back(evaluation["pass_at_1"]);
      }
    return scores;
  }
  // What is in the store now, told by a run that has nothing left to do.
  void expect_the_same(const std::filesystem::path& store) {
    const Finished again = run(run_arguments(*scratch_ / "job.json", store, 2));
    ASSERT_EQ(again.exit_code, 0) << again.err;
    EXPECT_NE(again.err.find("done before"), std::string::npos) << again.err;
    EXPECT_EQ(scores_of(again), expected_report_);
    EXPECT_EQ(kept_lines(store), expected_lines_);
    EXPECT_EQ(run({quench_program(), "artifacts", "verify", "--store", store.string()}).exit_code, 0);
  }

  static ScratchDirectory* scratch_;
  static nlohmann::json expected_report_;
  static std::string expected_lines_;
};
ScratchDirectory* Evaluators::scratch_ = nullptr;
nlohmann::json Evaluators::expected_report_;
std::string Evaluators::expected_lines_;

TEST_F(Evaluators, WhateverIsKilledEachVerdictIsKeptOnceAndIsTheSame) {
  const int wanted = count_asked("QUENCH_KILLS", kKills);
  std::mt19937 random(20261127);
  int kills = 0;
  std::map<int, int> leases_lost;
  int handed_in = 0, again = 0;
  for (int round = 0; kills < wanted; ++round) {
    ASSERT_LT(round, 4 + wanted) << "only " << kills << " kills hit a living worker";
    const auto store = *scratch_ / ("killed-" + std::to_string(round));
    const std::string mark = "fan-out-" + std::to_string(round);
    Running coordinator(run_arguments(*scratch_ / "job.json", store, 2), {{"QUENCH_FAN_OUT_TEST", mark}},
                        *scratch_ / "err.txt");
    ASSERT_TRUE(wait_for([&] { return log_lines(store, "published") == 2 || coordinator.ended(); },
                         std::chrono::seconds(120)));
    for (int kill = 0; kill < 3 && !coordinator.ended(); ++kill) {
      // Any moment: a worker that starts, loads, generates, executes or returns.
      std::this_thread::sleep_for(std::chrono::milliseconds(random() % 700));
      const std::vector<pid_t> workers = processes_with("QUENCH_FAN_OUT_TEST=" + mark, "quench-worker");
      if (workers.empty()) continue;
      if (::kill(workers[random() % workers.size()], SIGKILL) == 0) ++kills;
    }
    ASSERT_TRUE(wait_for([&] { return coordinator.ended(); })) << "it hangs: " << log_of(store);
    ASSERT_EQ(coordinator.wait(), 0) << read_text(*scratch_ / "err.txt");
    expect_the_same(store);
    EXPECT_TRUE(processes_with("QUENCH_FAN_OUT_TEST=" + mark).empty()) << "a process outlived the job";
    std::istringstream lines(log_of(store));
    std::smatch match;
    for (std::string line; std::getline(lines, line);)
      if (std::regex_search(line, match, std::regex("the (\\d+) leases of .* go to others: (\\d+) completions, (\\d+) of them"))) {
        EXPECT_LE(std::stoi(match[1]), kLeasesHeldMax) << line;
        const int made_again = std::stoi(match[2]) - std::stoi(match[3]);
        EXPECT_LE(made_again, kLeaseItems) << line;
        ++leases_lost[std::stoi(match[1])];
        handed_in += std::stoi(match[3]);
        again += made_again;
      }
    std::filesystem::remove_all(store);
  }
  std::cout << kills << " evaluation workers killed;";
  for (const auto& [leases, times] : leases_lost) std::cout << " " << leases << " leases went to others " << times << " times;";
  std::cout << " " << again << " completions were generated again, " << handed_in << " were not\n";
}

TEST_F(Evaluators, AWorkerJoinsWhileTheJobRunsAndDoesAShareOfIt) {
  const auto store = *scratch_ / "joined";
  Running joined({worker_program(), "--threads", "1", "evaluate", "--join", (store / "join").string(), "--wait",
                  "60", "--cache", (*scratch_ / "cache").string()},
                 {}, *scratch_ / "joined.txt");
  Running coordinator(run_arguments(*scratch_ / "job.json", store, 1), {}, *scratch_ / "err.txt");
  ASSERT_TRUE(wait_for([&] { return coordinator.ended(); }, std::chrono::seconds(120)));
  ASSERT_EQ(coordinator.wait(), 0) << read_text(*scratch_ / "err.txt");
  EXPECT_EQ(joined.wait(), 0) << read_text(*scratch_ / "joined.txt");
  EXPECT_GE(log_lines(store, "an evaluation worker joined"), 1u);
  expect_the_same(store);
  EXPECT_FALSE(std::filesystem::is_empty(*scratch_ / "cache")) << "it loaded the model";
  EXPECT_FALSE(std::filesystem::exists(store / "join")) << "the secret goes with the run";
}

TEST_F(Evaluators, AnInterruptedEvaluationGoesOnWhereItStopped) {
  const auto store = *scratch_ / "interrupted";
  {
    Running coordinator(run_arguments(*scratch_ / "job.json", store, 2), {}, *scratch_ / "err.txt");
    ASSERT_TRUE(wait_for([&] { return log_lines(store, "humaneval: ") >= 2 || coordinator.ended(); },
                         std::chrono::seconds(120)));
    coordinator.kill(SIGTERM);
    EXPECT_EQ(coordinator.wait(), 75) << read_text(*scratch_ / "err.txt");
  }
  const Finished next = run(run_arguments(*scratch_ / "job.json", store, 1));
  ASSERT_EQ(next.exit_code, 0) << next.err;
  EXPECT_NE(next.err.find("verdicts were kept from before"), std::string::npos) << next.err;
  expect_the_same(store);
}

TEST_F(Evaluators, KeptCompletionsAreGradedAgainWithoutAModel) {
  const auto store = (*scratch_ / "untouched").string();
  const auto graded = *scratch_ / "graded.jsonl";
  const Finished finished =
      run({quench_program(), "grade", "--from", "fan-out/none", "--store", store, "--out", graded.string()});
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_NE(finished.err.find("0 of 80 verdicts are others than the kept ones"), std::string::npos) << finished.err;
  const std::string text = read_text(graded);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 80);
  const Finished unknown = run(
      {quench_program(), "grade", "--from", "fan-out/nobody", "--store", store, "--out", graded.string()});
  EXPECT_EQ(unknown.exit_code, 2) << unknown.err;
}

TEST_F(Evaluators, OtherHostsAreLetInOnlyWhereThatWasAskedFor) {
  const Finished refused = run({quench_program(), "run", *scratch_ / "job.json", "--store", *scratch_ / "listen",
                                "--listen", "0.0.0.0:4711"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("--plain-network"), std::string::npos) << refused.err;
  EXPECT_FALSE(std::filesystem::exists(*scratch_ / "listen")) << "nothing was begun";
  const Finished nobody =
      run({worker_program(), "evaluate", "--join", (*scratch_ / "no-such-store" / "join").string()});
  EXPECT_EQ(nobody.exit_code, 4);
  EXPECT_NE(nobody.err.find("is `quench run` running"), std::string::npos) << nobody.err;
}

}  // namespace
}  // namespace quench::testing
