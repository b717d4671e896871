// The second promise: whatever dies by kill -9 — a rank, mpirun, the coordinator — at any block, the
// next `quench run` of the same job goes on from the last committed block, on another number of
// ranks too, and ends with the same digests; no committed block is made again, a lost gang is noticed within 10 s, and no
// process of a dead run outlives it by 15 s. QUENCH_KILLS=200 is the long form.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <iostream>
#include <random>
#include <regex>
#include <sstream>

#include "tests/integration/small_job.h"
#include "tests/support/waiting.h"

namespace quench::testing {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kKills = 20;
constexpr std::chrono::seconds kAfterlifeMax{15};
constexpr std::chrono::seconds kUnnoticedMax{10};

enum class Victim { rank, gang, coordinator };

std::size_t log_lines(const std::filesystem::path& store) { return count(log_of(store), "\n"); }

// What a coordinator says once it knows that a gang is not whole any more.
std::size_t losses_told(const std::filesystem::path& store) {
  const std::string log = log_of(store);
  return count(log, "lost rank") + count(log, "starting the gang again") + count(log, "the gang's end");
}

// Blocks of the log's artifacts follow each other: what was committed is never made again, so a kill costs the block
// under way and no other. A coordinator killed between a commit and its line leaves one number out.
void expect_no_block_twice(const std::string& log) {
  std::map<std::string, int> made;
  std::istringstream lines(log);
  bool resumed = false;
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_search(line, match, std::regex("Z (\\S+): going on after block (\\d+)"))) {
      const int after = std::stoi(match[2]) + 1;
      EXPECT_TRUE(after == made[match[1]] || after == made[match[1]] + 1) << line << "\n" << log;
      made[match[1]] = after;
      resumed = true;
    } else if (std::regex_search(line, match, std::regex("Z (\\S+): (\\d+) of 5"))) {
      const int now = std::stoi(match[2]);
      EXPECT_EQ(now, made[match[1]] + (resumed || now == 0 ? 0 : 1)) << line << "\n" << log;
      made[match[1]] = now;
      resumed = false;
    } else if (std::regex_search(line, match, std::regex("ran (\\d+) committed blocks again"))) {
      EXPECT_LE(std::stoi(match[1]), 1) << line << "\n" << log;
    }
  }
}

TEST(Crash, KillsAtSeededPointsCostNoCommittedWork) {
  const ScratchDirectory scratch;
  nlohmann::json job = small_job();
  write_text(scratch / "job.json", job.dump());
  const Finished untouched = run(run_arguments(scratch / "job.json", scratch / "untouched", 2));
  ASSERT_EQ(untouched.exit_code, 0) << untouched.err;
  const std::vector<std::string> expected = digests_of(untouched);
  // A fresh store has so many lines in its log when the job is done without a kill.
  const std::size_t lines_of_a_run = log_lines(scratch / "untouched");
  ASSERT_GT(lines_of_a_run, 30u);

  const int wanted = count_asked("QUENCH_KILLS", kKills);
  int kills = 0, stores = 0;
  std::mt19937 random(20260101);
  std::map<Victim, int> counts;
  Clock::duration longest_unnoticed{};
  while (kills < wanted) {
    ASSERT_LT(stores, 2 * wanted) << "only " << kills << " kills hit a living process";
    const auto store = scratch / ("store-" + std::to_string(stores++));
    bool done = false;
    for (int attempt = 0; attempt < 4 && !done; ++attempt) {
      const int ranks = 1 + static_cast<int>(random() % 3);
      const std::string marker =
          "QUENCH_CRASH_TEST=" + std::to_string(stores) + "-" + std::to_string(attempt);
      const std::size_t point = log_lines(store) + 1 + random() % (lines_of_a_run / 3);
      const auto victim = static_cast<Victim>(random() % 3);
      Running coordinator(run_arguments(scratch / "job.json", store, ranks),
                          {{"QUENCH_CRASH_TEST", marker.substr(marker.find('=') + 1)}}, scratch / "err.txt");
      wait_for([&] { return log_lines(store) >= point || coordinator.ended(); }, std::chrono::seconds(60));
      if (!coordinator.ended()) {
        std::vector<pid_t> targets = {coordinator.pid()};
        if (victim == Victim::rank) targets = processes_with(marker, "quench-worker");
        if (victim == Victim::gang) targets = processes_with(marker, "orterun");
        if (!targets.empty()) {
          const std::size_t told = losses_told(store);
          const auto killed = Clock::now();
          ::kill(targets[random() % targets.size()], SIGKILL);
          ++kills;
          ++counts[victim];
          if (victim != Victim::coordinator) {
            EXPECT_TRUE(wait_for([&] { return losses_told(store) > told || coordinator.ended(); }, kUnnoticedMax));
            longest_unnoticed = std::max(longest_unnoticed, Clock::now() - killed);
          }
        }
      }
      // A lost rank or gang is started again by the coordinator; a lost coordinator ends the run.
      ASSERT_TRUE(wait_for([&] { return coordinator.ended(); }, std::chrono::seconds(120)))
          << read_text(scratch / "err.txt");
      const auto died = Clock::now();
      done = coordinator.wait() == 0;
      ASSERT_TRUE(wait_for([&] { return processes_with(marker).empty(); }, kAfterlifeMax))
          << processes_with(marker).size() << " processes outlived the run";
      EXPECT_LT(Clock::now() - died, kAfterlifeMax);
    }
    const Finished last = run(run_arguments(scratch / "job.json", store, 1 + static_cast<int>(random() % 4)));
    ASSERT_EQ(last.exit_code, 0) << last.err << read_text(scratch / "err.txt");
    EXPECT_EQ(digests_of(last), expected);
    expect_no_block_twice(log_of(store));
    const Finished verified = run({quench_program(), "artifacts", "verify", "--store", store});
    EXPECT_EQ(verified.exit_code, 0) << verified.out << verified.err;
  }
  for (const Victim victim : {Victim::rank, Victim::gang, Victim::coordinator})
    EXPECT_GT(counts[victim], 0) << "no kill hit kind " << static_cast<int>(victim);
  std::cout << kills << " kills: " << counts[Victim::rank] << " ranks, " << counts[Victim::gang] << " mpirun, "
            << counts[Victim::coordinator] << " coordinators; a lost gang was noticed after at most "
            << std::chrono::duration_cast<std::chrono::milliseconds>(longest_unnoticed).count() << " ms\n";
}

// The state of fine-tuning is on disk after every epoch: whatever dies, inside a block or inside the whole model behind it, the
// epochs before it are not run again.
TEST(Crash, AKillInsideFineTuningCostsAnEpoch) {
  const ScratchDirectory scratch;
  write_divisible_model(scratch / "model");
  nlohmann::json job = small_job();
  job["model"] = (scratch / "model").string();
  job["baseline"] = false;
  job["quantize"] = {{{"method", "aqlm"}, {"codebooks", 2}, {"codebookBits", 4}, {"fineTuning", "endToEnd"}, {"fineTuneEpochs", 20},
                      {"patience", 20}, {"learningRate", 1e-3}, {"endToEndLearningRate", 1e-3}}};
  write_text(scratch / "job.json", job.dump());
  const Finished untouched = run(run_arguments(scratch / "job.json", scratch / "untouched", 2));
  ASSERT_EQ(untouched.exit_code, 0) << untouched.err;
  const auto state_of = [](const std::filesystem::path& store, const std::string& what) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(store / "scratch", ignored))
      if (entry.path().filename() == "tuning-" + what) return true;
    return false;
  };
  const auto store = scratch / "store";
  int ranks = 1;
  for (const std::string inside : {"block-0", "block-1", "model"}) {
    Running coordinator(run_arguments(scratch / "job.json", store, ranks++), {{"QUENCH_CRASH_TEST", "tuning"}}, scratch / "err.txt");
    ASSERT_TRUE(wait_for([&] { return state_of(store, inside) || coordinator.ended(); }, std::chrono::seconds(60)));
    ASSERT_FALSE(coordinator.ended()) << read_text(scratch / "err.txt");
    for (const pid_t pid : processes_with("QUENCH_CRASH_TEST=tuning")) ::kill(pid, SIGKILL);
    EXPECT_NE(coordinator.wait(), 0);
    ASSERT_TRUE(wait_for([&] { return processes_with("QUENCH_CRASH_TEST=tuning").empty(); }, kAfterlifeMax));
  }
  const Finished last = run(run_arguments(scratch / "job.json", store, ranks));
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_EQ(digests_of(last), digests_of(untouched));
  EXPECT_NE(last.err.find("went on after epoch"), std::string::npos) << last.err;
  EXPECT_NE(last.err.find("fine-tuning end to end: validation divergence"), std::string::npos) << last.err;
  EXPECT_FALSE(state_of(store, "model")) << "nothing is left of what is committed";
}

TEST(Crash, ASignalStopsTheRunAndTheNextOneGoesOn) {
  const ScratchDirectory scratch;
  write_text(scratch / "job.json", small_job().dump());
  const auto store = scratch / "store";
  const std::string marker = "QUENCH_CRASH_TEST=signal";
  {
    Running coordinator(run_arguments(scratch / "job.json", store, 2), {{"QUENCH_CRASH_TEST", "signal"}},
                        scratch / "err.txt");
    ASSERT_TRUE(wait_for([&] { return log_lines(store) >= 12; }, std::chrono::seconds(60)));
    coordinator.kill(SIGTERM);
    EXPECT_EQ(coordinator.wait(), 75) << read_text(scratch / "err.txt");
  }
  EXPECT_TRUE(wait_for([&] { return processes_with(marker).empty(); }, kAfterlifeMax));
  const Finished next = run(run_arguments(scratch / "job.json", store, 3));
  EXPECT_EQ(next.exit_code, 0) << next.err;
}

}  // namespace
}  // namespace quench::testing
