// kill -9 at seeded moments: whatever the writer acknowledged is there and right, and the store goes on.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <chrono>

#include "tests/coordinator/store/store_workload.h"

extern char** environ;

namespace quench::coordinator {
namespace {

using ::testing::HasSubstr;

// A running store_writer and the end of its pipe.
class Writer {
 public:
  Writer(const std::filesystem::path& store, std::uint64_t seed) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
    read_end_ = ends[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    constexpr int kChildEnd = 9;
    posix_spawn_file_actions_adddup2(&actions, ends[1], kChildEnd);
    std::string program = QUENCH_BIN_DIR "/store_writer", directory = store.string();
    std::string seed_text = std::to_string(seed), end_text = std::to_string(kChildEnd);
    char* arguments[] = {program.data(), directory.data(), seed_text.data(), end_text.data(), nullptr};
    const int failure = posix_spawn(&process_, program.c_str(), &actions, nullptr, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (failure != 0) throw std::runtime_error("cannot start " + program);
  }
  ~Writer() {
    if (process_ > 0) kill_and_drain();
    close(read_end_);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  pid_t process() const { return process_; }
  // Waits for the next acknowledgement; false when the process is gone.
  bool next() {
    std::uint64_t number = 0;
    if (read(read_end_, &number, sizeof number) != sizeof number) return false;
    acknowledged_ = number;
    return true;
  }
  // Ends the process at once, and returns the last commit it acknowledged.
  std::uint64_t kill_and_drain() {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
    process_ = -1;
    while (next()) {
    }
    return acknowledged_;
  }

 private:
  pid_t process_ = -1;
  int read_end_ = -1;
  std::uint64_t acknowledged_ = 1;  // the commit that makes a store
};

class StoreCrashTest : public ::testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Seeds, StoreCrashTest, ::testing::Range(0, all_faults() ? 334 : 24));

// Three lives of one store: each is killed while it makes the store, opens it, or writes to it.
TEST_P(StoreCrashTest, KeepsWhatWasAcknowledged) {
  const TemporaryDirectory home(fast_directory());
  const std::filesystem::path directory = home.path() / "store";
  const std::uint64_t seed = static_cast<std::uint64_t>(GetParam());
  std::mt19937_64 random(seed);
  std::uint64_t acknowledged = 1;
  for (int life = 0; life < 3; ++life) {
    {
      Writer writer(directory, seed);
      // Some lives end before the first commit, in the middle of creating or opening.
      const std::uint64_t commits = random() % 4 == 0 ? 0 : random() % 25;
      for (std::uint64_t i = 0; i < commits; ++i) ASSERT_TRUE(writer.next()) << "the writer failed";
      const timespec moment{0, static_cast<long>(random() % (commits == 0 ? 40'000'000 : 4'000'000))};
      nanosleep(&moment, nullptr);
      acknowledged = std::max(acknowledged, writer.kill_and_drain());
    }
    const auto start = std::chrono::steady_clock::now();
    const ArtifactStore store = ArtifactStore::open(directory, OpenMode::create);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
    const std::uint64_t commits = store.commit_number();
    EXPECT_GE(commits, acknowledged);
    EXPECT_LE(commits, acknowledged + 1) << "at most the commit in progress";
    expect_steps(store, seed, commits);
    const VerifyReport report = store.verify();
    EXPECT_EQ(report.exit_status(), 0) << ::testing::PrintToString(report.findings);
    acknowledged = commits;
  }
}

TEST(StoreOwnerTest, ASecondProcessIsToldWhoHasTheStore) {
  const TemporaryDirectory home(fast_directory());
  const std::filesystem::path directory = home.path() / "store";
  Writer writer(directory, 1);
  ASSERT_TRUE(writer.next());
  const Error error = error_of([&] { ArtifactStore::open(directory, OpenMode::existing); });
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
  EXPECT_THAT(error.what(), HasSubstr("in use by process " + std::to_string(writer.process())));
  EXPECT_THAT(error.what(), HasSubstr((directory / "quench.sock").string()));
  const std::uint64_t acknowledged = writer.kill_and_drain();
  EXPECT_GE(ArtifactStore::open(directory, OpenMode::existing).commit_number(), acknowledged)
      << "the lock ends with its owner";
}

}  // namespace
}  // namespace quench::coordinator
