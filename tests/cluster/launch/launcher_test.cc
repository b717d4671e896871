// Gangs by the real mpirun. A program that is killed must leave nobody behind, whoever is killed.
#include "cluster/launch/launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "cluster/launch/child_process.h"
#include "cluster/launch/gang_folder.h"
#include "cluster/launch/gang_processes.h"
#include "cluster/launch/local.h"
#include "schemas/error.h"

namespace quench::cluster {
namespace {

using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

// DESIGN.md: no process of a dead run outlives it by 15 s.
constexpr seconds kOutliveMax{15};

std::string program(const std::string& name) { return std::string(QUENCH_BIN_DIR) + "/" + name; }

// Neither gone nor a zombie.
bool alive(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const std::size_t end = text.rfind(')');
  return end != std::string::npos && end + 2 < text.size() && text[end + 2] != 'Z' && text[end + 2] != 'X';
}

template <typename Done>
bool run_until(Loop& loop, Done done, Clock::duration limit) {
  const auto until = Clock::now() + limit;
  loop.restart();
  while (!done()) {
    if (Clock::now() >= until) return false;
    if (loop.run_one_for(milliseconds(20)) == 0) loop.restart();
  }
  return true;
}

// The process ids the ranks printed.
struct Witness {
  std::vector<std::string> lines;
  std::set<int> pids;
  void on_line(const std::string& line) {
    lines.push_back(line);
    std::istringstream words(line);
    std::string word;
    int pid = 0;
    if (words >> word >> pid && (word == "pid" || word == "mpirun")) pids.insert(pid);
  }
  // SIGKILL reaches a process on a busy machine a moment after it was sent.
  bool anyone_alive() const {
    for (int i = 0; i < 200 && std::ranges::any_of(pids, alive); ++i) std::this_thread::sleep_for(milliseconds(10));
    return std::ranges::any_of(pids, alive);
  }
  std::string all() const {
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    return text;
  }
};

class LauncherTest : public ::testing::Test {
 protected:
  void start(const std::string& how, std::uint32_t ranks) {
    gang = make_local_launcher(loop)->start(
        {.program = program("gang_rank"),
         .arguments = {how},
         .environment = {{"GIVEN", "an argument, with spaces"}},
         .secret = "hidden word",
         .ranks = ranks},
        {.on_line = [this](std::optional<std::uint32_t>, const std::string& line) { witness.on_line(line); },
         .on_exit = [this](const GangExit& exit) { end = exit; }});
  }
  bool wait_for_ranks(std::size_t count) {
    return run_until(
               loop, [&] { return witness.pids.size() >= count || end; }, seconds(30)) &&
           !end;
  }
  bool wait_for_end(Clock::duration limit = seconds(30)) {
    return run_until(
        loop, [&] { return end.has_value(); }, limit);
  }

  Loop loop;
  Witness witness;
  std::optional<GangExit> end;
  std::unique_ptr<Gang> gang;
};

TEST_F(LauncherTest, RunsAGangToItsEndAtEveryNumberOfRanks) {
  for (const std::uint32_t ranks : {1u, 3u}) {
    witness = {};
    end.reset();
    start("work", ranks);
    ASSERT_TRUE(wait_for_end());
    EXPECT_TRUE(end->ok()) << end->describe() << "\n" << witness.all();
    EXPECT_EQ(witness.pids.size(), ranks);
    EXPECT_THAT(witness.all(), HasSubstr("rank 0 of " + std::to_string(ranks) +
                                         " secret hidden word given an argument, with spaces"));
    EXPECT_EQ(witness.lines.size(), ranks) << "mpirun said something of its own:\n" << witness.all();
  }
}

// The first coordinator is another process, which is killed as the kernel would.
TEST_F(LauncherTest, AGangThatOutlivesItsCoordinatorIsAdopted) {
  std::array<int, 2> told{};
  ASSERT_EQ(::pipe(told.data()), 0);
  const pid_t first = ::fork();
  if (first == 0) {
    Loop own;
    const auto left = make_local_launcher(own)->start(
        {.program = program("gang_rank"), .arguments = {"wait"}, .secret = "hidden word", .ranks = 2, .outlives = true}, {});
    const std::string text = left->folder().string() + "\n" + std::to_string(left->pid()) + "\n";
    if (::write(told[1], text.data(), text.size()) < 0) ::_exit(1);
    for (;;) ::pause();
  }
  ::close(told[1]);
  std::string text;
  std::array<char, 512> buffer{};
  while (std::count(text.begin(), text.end(), '\n') < 2) {
    const ssize_t got = ::read(told[0], buffer.data(), buffer.size());
    ASSERT_GT(got, 0);
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  ::close(told[0]);
  ::kill(first, SIGKILL);
  ::waitpid(first, nullptr, 0);
  std::istringstream lines(text);
  std::string folder;
  int mpirun = 0;
  lines >> folder >> mpirun;
  {
    GangFolder other;  // another coordinator's, which removes dead gangs
    EXPECT_TRUE(std::filesystem::exists(folder)) << "it waits for its next coordinator";
  }
  std::unique_ptr<GangFolder> taken = GangFolder::take(folder);
  ASSERT_TRUE(taken);
  EXPECT_EQ(GangFolder::take(folder), nullptr) << "one coordinator at a time";
  EXPECT_EQ(taken->read_secret(), "hidden word");
  const auto launcher = make_local_launcher(loop);
  gang = launcher->adopt(std::move(taken), {.on_line = [this](std::optional<std::uint32_t>, const std::string& line) { witness.on_line(line); },
                                            .on_exit = [this](const GangExit& exit) { end = exit; }});
  ASSERT_TRUE(gang);
  EXPECT_EQ(gang->pid(), mpirun);
  ASSERT_TRUE(wait_for_ranks(2)) << "what they said before is in their log";
  gang->stop(seconds(3));
  ASSERT_TRUE(wait_for_end());
  EXPECT_EQ(end->end, GangEnd::stopped);
  EXPECT_FALSE(witness.anyone_alive());
  gang.reset();
  EXPECT_FALSE(std::filesystem::exists(folder));
  EXPECT_EQ(GangFolder::take(folder), nullptr);
}

TEST_F(LauncherTest, TheSecretIsInNoArgumentAndNoEnvironment) {
  start("wait", 2);
  ASSERT_TRUE(wait_for_ranks(2));
  std::set<int> all = witness.pids;
  all.insert(gang->pid());
  for (const int pid : all)
    for (const char* const file : {"cmdline", "environ"}) {
      std::ifstream stream("/proc/" + std::to_string(pid) + "/" + file);
      const std::string text(std::istreambuf_iterator<char>(stream), {});
      ASSERT_FALSE(text.empty());
      EXPECT_EQ(text.find("hidden word"), std::string::npos) << file;
    }
}

TEST_F(LauncherTest, ARankThatFailsEndsTheGangAndIsNamed) {
  start("fail", 3);
  ASSERT_TRUE(wait_for_end());
  EXPECT_EQ(end->code, 7);
  EXPECT_EQ(end->rank, 2u);
  EXPECT_EQ(end->describe(), "rank 2 exited with code 7");
  EXPECT_FALSE(witness.anyone_alive());
}

TEST_F(LauncherTest, AKilledRankEndsTheGangAndItsSignalIsReported) {
  start("killed", 2);
  ASSERT_TRUE(wait_for_end(kOutliveMax));
  EXPECT_EQ(end->rank, 1u);
  EXPECT_EQ(end->signal, SIGKILL);
  EXPECT_THAT(end->describe(), HasSubstr("rank 1 was killed by signal 9"));
  EXPECT_FALSE(witness.anyone_alive());
}

TEST_F(LauncherTest, StopLeavesNoProcess) {
  start("wait", 2);
  ASSERT_TRUE(wait_for_ranks(2));
  gang->stop(seconds(5));
  ASSERT_TRUE(wait_for_end(kOutliveMax));
  EXPECT_EQ(end->end, GangEnd::stopped);
  EXPECT_FALSE(end->ok());
  EXPECT_FALSE(witness.anyone_alive());
  EXPECT_FALSE(alive(gang->pid()));
}

TEST_F(LauncherTest, StopEndsRanksThatIgnoreItAndTheirOrphans) {
  start("deaf", 2);
  ASSERT_TRUE(wait_for_ranks(3)) << witness.all();  // two ranks and a grandchild in a session of its own
  gang->stop(milliseconds(300));
  ASSERT_TRUE(wait_for_end(kOutliveMax));
  EXPECT_FALSE(witness.anyone_alive());
}

TEST_F(LauncherTest, StopEndsAStoppedRank) {
  start("stopped", 2);
  ASSERT_TRUE(wait_for_ranks(2));
  gang->stop(seconds(4));
  ASSERT_TRUE(wait_for_end(kOutliveMax));
  EXPECT_FALSE(witness.anyone_alive());
}

TEST_F(LauncherTest, AKilledMpirunTakesItsRanksWithIt) {
  start("deaf", 2);
  ASSERT_TRUE(wait_for_ranks(3));
  ::kill(gang->pid(), SIGKILL);
  ASSERT_TRUE(wait_for_end(kOutliveMax));
  EXPECT_EQ(end->signal, SIGKILL);
  EXPECT_FALSE(end->rank);
  EXPECT_FALSE(witness.anyone_alive());
}

TEST_F(LauncherTest, DestroyingTheGangEndsItToo) {
  start("deaf", 2);
  ASSERT_TRUE(wait_for_ranks(3));
  const int mpirun = gang->pid();
  gang.reset();
  EXPECT_TRUE(run_until(
      loop, [&] { return !witness.anyone_alive() && !alive(mpirun); }, seconds(5)));
  EXPECT_FALSE(end) << "no callback after destruction";
}

std::string variable_of(int pid, const std::string& name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/environ", std::ios::binary);
  std::string entry;
  while (std::getline(file, entry, '\0'))
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  return "";
}

// Of our environment PATH alone (and a sanitizer's options), and what a Slurm job would have put there.
TEST(Coordinator, StartsGangsFromABareEnvironmentAndInsideABatchJob) {
  Loop loop;
  Witness witness;
  std::optional<ChildExit> end;
  const ChildProcess coordinator(
      loop,
      {.program = program("gang_starter"),
       .arguments = {program("gang_rank"), "work", "2"},
       .environment = {{"SLURM_JOB_ID", "1"},
                       {"SLURM_JOBID", "1"},
                       {"SLURM_NODELIST", "node[1-2]"},
                       {"SLURM_TASKS_PER_NODE", "1(x2)"},
                       {"SLURM_NNODES", "2"},
                       {"PMIX_RANK", "0"},
                       {"OMPI_COMM_WORLD_SIZE", "5"}},
       .keep_variable = [](const std::string& name) { return name == "PATH" || name == "ASAN_OPTIONS"; },
       .out = ChildStream::lines,
       .err = ChildStream::lines},
      {.on_line = [&](ChildHandlers::Source, const std::string& line) { witness.on_line(line); },
       .on_exit = [&](const ChildExit& exit) { end = exit; }});
  ASSERT_TRUE(run_until(
      loop, [&] { return end.has_value(); }, seconds(30)));
  EXPECT_EQ(witness.lines.size(), 4u) << witness.all();  // mpirun's id, two ranks, the end
  EXPECT_THAT(witness.all(), HasSubstr("the gang ended well"));
}

// The coordinator itself is a child here, and dies by kill -9.
TEST(Coordinator, KilledLeavesNoProcessOfItsGangAndTheNextOneTidiesUp) {
  for (const std::string how : {"wait", "stopped"}) {
    Loop loop;
    Witness witness;
    bool ended = false;
    ChildProcess coordinator(
        loop,
        {.program = program("gang_starter"),
         .arguments = {program("gang_rank"), how, "2"},
         .out = ChildStream::lines,
         .err = ChildStream::lines},
        {.on_line = [&](ChildHandlers::Source, const std::string& line) { witness.on_line(line); },
         .on_exit = [&](const ChildExit&) { ended = true; }});
    ASSERT_TRUE(run_until(
        loop, [&] { return witness.pids.size() == 3 || ended; }, seconds(30)));
    ASSERT_FALSE(ended) << witness.all();
    const std::filesystem::path folder =
        std::filesystem::path(variable_of(*witness.pids.rbegin(), kSecretFileVariable)).parent_path();
    EXPECT_TRUE(std::filesystem::exists(folder / "secret")) << folder;
    const auto killed = Clock::now();
    coordinator.signal(SIGKILL);
    EXPECT_TRUE(run_until(
        loop, [&] { return ended && !witness.anyone_alive(); }, kOutliveMax))
        << how;
    const std::chrono::duration<double> outlived = Clock::now() - killed;
    const GangFolder next;
    EXPECT_FALSE(std::filesystem::exists(folder)) << "the dead gang's secret and segments are still there";
    std::cout << how << ": the last process ended " << outlived.count() << " s after its coordinator\n";
  }
}

TEST(GangFolder, IsPrivateAndWhatADeadCoordinatorLeftIsRemoved) {
  std::filesystem::path dead;
  {
    const GangFolder folder;
    struct stat info {};
    ASSERT_EQ(::stat(folder.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0700u);
    const auto secret = folder.write_secret("x");
    ASSERT_EQ(::stat(secret.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
    dead = folder.path().string() + "dead";
    std::filesystem::create_directory(dead);
    std::ofstream(dead / "lock") << "";
    std::ofstream(dead / "segment") << "left over";
    const GangFolder next;
    EXPECT_FALSE(std::filesystem::exists(dead));
    EXPECT_TRUE(std::filesystem::exists(folder.path())) << "a living gang's folder was removed";
    dead = folder.path();
  }
  EXPECT_FALSE(std::filesystem::exists(dead));
}

TEST(Launcher, SaysWhatIsMissing) {
  Loop loop;
  try {
    make_local_launcher(loop, "/nowhere/mpirun")->start({.program = program("gang_rank"), .secret = "s"}, {});
    ADD_FAILURE() << "started without mpirun";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_THAT(error.what(), HasSubstr("openmpi-bin"));
    EXPECT_THAT(error.what(), HasSubstr("PATH"));
  }
  try {
    make_local_launcher(loop)->start({.program = "/nowhere/quench-worker", .secret = "s"}, {});
    ADD_FAILURE() << "started without a program";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("/nowhere/quench-worker is not an executable"));
  }
}

}  // namespace
}  // namespace quench::cluster
