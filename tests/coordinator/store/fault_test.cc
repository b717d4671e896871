// A disk that fails at any one of its calls, under every operation that changes a store: the process is killed before
// the call, what was not synced is lost with it, the call fails with EIO, or the disk is full from there on. Whatever was
// acknowledged must be there and right afterwards, what was not must be whole or invisible, and the store must go on.
//
// Short here: some calls of each kind, spread over all. QUENCH_FAULTS_FULL=1 takes 1,200 places for kills (every call), 500 for
// lost data, 200 for each kind of EIO and 50 fill levels each of a full disk and a full quota of the file system (half an hour).
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

#include "tests/coordinator/store/fault_workload.h"
#include "tests/coordinator/store/sample_store.h"

extern char** environ;

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

struct Ended {
  std::uint64_t acknowledged = 0;  // steps
  int status = 0;                  // of waitpid
  bool killed() const { return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; }
  bool failed() const { return WIFEXITED(status) && WEXITSTATUS(status) == 1; }
  bool done() const { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }
};

struct Fault {
  std::string kind;  // empty: none
  std::uint64_t at = 0;
  std::string calls = "wsrcu";
};

class StoreFaultTest : public ::testing::Test {
 protected:
  fs::path store() const { return home_.path() / "home" / "store"; }

  void fresh() const {
    fs::remove_all(home_.path());
    fs::create_directories(home_.path() / "home");
  }

  Ended operate(const std::string& first, const Fault& fault) const {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
    constexpr int kChildEnd = 9;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], kChildEnd);
    posix_spawn_file_actions_addopen(&actions, 2, (home_.path() / "err").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    std::vector<std::string> variables;
    for (char** one = environ; *one != nullptr; ++one) variables.emplace_back(*one);
    variables.push_back("LD_PRELOAD=" QUENCH_BIN_DIR "/libfault_shim.so");
    variables.push_back("FAULT_DIR=" + (home_.path() / "home").string());
    variables.push_back("FAULT_KIND=" + fault.kind);
    variables.push_back("FAULT_AT=" + std::to_string(fault.at));
    variables.push_back("FAULT_CALLS=" + fault.calls);
    variables.push_back("FAULT_COUNT_FILE=" + (home_.path() / "count").string());
    std::vector<char*> environment;
    for (std::string& one : variables) environment.push_back(one.data());
    environment.push_back(nullptr);
    std::string program = QUENCH_BIN_DIR "/store_operator", directory = store().string(), from = first, end = std::to_string(kChildEnd);
    char* arguments[] = {program.data(), directory.data(), from.data(), end.data(), nullptr};
    pid_t process = -1;
    const int failure = posix_spawn(&process, program.c_str(), &actions, nullptr, arguments, environment.data());
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (failure != 0) throw std::runtime_error("cannot start " + program);
    Ended ended;
    for (std::uint64_t steps; read(ends[0], &steps, sizeof steps) == sizeof steps;) ended.acknowledged = steps;
    close(ends[0]);
    waitpid(process, &ended.status, 0);
    return ended;
  }
  std::string errors() const {
    std::ifstream in(home_.path() / "err");
    return {std::istreambuf_iterator<char>(in), {}};
  }

  // How many calls a whole run without a fault makes.
  std::uint64_t count_calls(const std::string& first, const std::string& calls) const {
    const Ended ended = operate(first, {"", 0, calls});
    EXPECT_TRUE(ended.done()) << errors();
    std::uint64_t count = 0;
    std::ifstream(home_.path() / "count") >> count;
    return count;
  }

  static bool holds(const ArtifactStore& opened, const ExpectedStore& expected, std::string* why) {
    std::map<std::string, std::string> names;
    for (const Ref& ref : opened.list_refs()) names[ref.name] = std::string(as_text(opened.get_object(ref.object).bytes));
    std::set<std::string> results;
    for (const char* prefix : {"verdict/", "signature/"})
      opened.scan_results(prefix, [&](std::string_view key, Bytes) {
        results.emplace(key);
        return true;
      });
    const std::uint64_t quota = opened.policy().quota_bytes.value_or(0);
    *why += "names " + ::testing::PrintToString(names) + ", results " + ::testing::PrintToString(results) + ", quota " +
            std::to_string(quota) + "\n";
    return names == expected.names && results == expected.results && quota == expected.quota &&
           opened.read_journal("job").size() == expected.events;
  }

  // After `acknowledged` steps, and perhaps one more, or a part of a collection that ends a name first.
  void expect_right(std::uint64_t acknowledged, const std::string& what) const {
    SCOPED_TRACE(what + ", " + std::to_string(acknowledged) + " steps acknowledged\n" + errors());
    const auto start = std::chrono::steady_clock::now();
    ArtifactStore opened = ArtifactStore::open(store(), OpenMode::create);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
    std::string why;
    EXPECT_TRUE(holds(opened, expected_after(acknowledged), &why) || holds(opened, expected_after(acknowledged + 1), &why)) << why;
    for (const Ref& ref : opened.list_refs()) {
      const StoredObject object = opened.get_object(ref.object);
      for (const Digest& chunk : object.chunks) EXPECT_FALSE(opened.get_chunk(chunk).empty());
      EXPECT_FALSE(object.collected_ms);
    }
    for (const JournalEvent& event : opened.read_journal("job"))
      for (const Digest& chunk : event.chunks) EXPECT_FALSE(opened.get_chunk(chunk).empty());
    VerifyReport report = opened.verify();
    EXPECT_EQ(report.exit_status(), 0) << ::testing::PrintToString(report.findings);
    for (const std::uint64_t step : expected_after(acknowledged).backups)
      EXPECT_TRUE(fs::exists(fault_backup(store(), step) / "HEAD")) << "the backup of step " << step;
    for (const fs::directory_entry& entry : fs::directory_iterator(store().parent_path()))
      if (entry.path() != store() && fs::exists(entry.path() / "HEAD")) {
        EXPECT_EQ(ArtifactStore::open(entry.path(), OpenMode::read_only).verify().exit_status(), 0) << entry.path();
      }
    // It goes on: a collection takes what the crash has left, and leaves what it must.
    CollectOptions options;
    options.name_grace_ms = 0;
    opened.collect(options);
    const Digest chunk = opened.put_chunk(text_bytes("after the fault"));
    opened.commit(Commit().append_journal("afterwards", text_bytes("on"), std::vector{chunk}));
    report = opened.verify();
    EXPECT_EQ(report.exit_status(), 0) << ::testing::PrintToString(report.findings);
  }

  // `runs` places, from the first call to the last.
  void spread(const std::string& kind, const std::string& calls, std::uint64_t runs, std::uint64_t runs_full) const {
    fresh();
    const std::uint64_t count = count_calls("0", calls);
    ASSERT_GT(count, kFaultStepsMax);
    // More runs than calls: the places come again, and the background threads stand elsewhere.
    const std::uint64_t wanted = all_faults() ? runs_full : std::min(runs, count), places = std::min(wanted, count);
    int ended_by_fault = 0;
    for (std::uint64_t i = 0; i < wanted && !HasFailure(); ++i) {
      // Between two runs of this test the places differ in no way, but not all are multiples of one number.
      const std::uint64_t at = 1 + i % places * count / places + (i * 7) % std::max<std::uint64_t>(1, count / places);
      fresh();
      const Ended ended = operate("0", {kind, at, calls});
      ended_by_fault += !ended.done();
      EXPECT_TRUE(ended.done() || ended.failed() || ended.killed())
          << kind << " at " << at << ": status " << ended.status << "\n" << errors();
      const std::string what = kind + " at call " + std::to_string(at) + " of " + std::to_string(count) + " (" + calls + ")";
      try {
        expect_right(ended.acknowledged, what);
      } catch (const Error& error) {
        ADD_FAILURE() << what << ", " << ended.acknowledged << " steps acknowledged: " << error.what();
      }
    }
    // RocksDB's background work makes a few calls more in one run than in another.
    EXPECT_GE(ended_by_fault, static_cast<int>(wanted / 2));
    std::printf("%s of %s: %llu of %llu calls\n", kind.c_str(), calls.c_str(), static_cast<unsigned long long>(wanted),
                static_cast<unsigned long long>(count));
  }

  TemporaryDirectory home_{fast_directory()};
};

TEST_F(StoreFaultTest, WithoutAFaultEverythingIsDone) {
  fresh();
  const Ended ended = operate("0", {});
  EXPECT_TRUE(ended.done()) << errors();
  EXPECT_EQ(ended.acknowledged, kFaultStepsMax);
  expect_right(kFaultStepsMax, "no fault");
}

TEST_F(StoreFaultTest, KilledBeforeAnyCall) { spread("kill", "wsrcu", 60, 1200); }
TEST_F(StoreFaultTest, UnsyncedDataIsLost) { spread("drop", "wsrcu", 40, 500); }
TEST_F(StoreFaultTest, WritesFail) { spread("eio", "w", 12, 200); }
TEST_F(StoreFaultTest, SyncsFail) { spread("eio", "s", 12, 200); }
TEST_F(StoreFaultTest, RenamesFail) { spread("eio", "r", 8, 200); }
TEST_F(StoreFaultTest, ReadsFail) { spread("eio", "R", 12, 200); }
TEST_F(StoreFaultTest, FilesCannotBeMade) { spread("eio", "c", 8, 200); }
TEST_F(StoreFaultTest, TheDiskIsFull) { spread("nospc", "wc", 12, 50); }
TEST_F(StoreFaultTest, TheUsersQuotaOfTheDiskIsFull) { spread("dquot", "wc", 6, 50); }

// Bringing a store of an older format to this one, killed anywhere.
TEST_F(StoreFaultTest, AMigrationIsWholeOrNotThere) {
  const fs::path samples = fs::path(QUENCH_SOURCE_DIR) / "tests/fixtures/stores";
  const auto unpack = [&] {
    fresh();
    ASSERT_EQ(std::system(("tar -C " + (home_.path() / "home").string() + " -xJf " + (samples / "format1.tar.xz").string()).c_str()), 0);
    fs::rename(home_.path() / "home" / "format1", store());
  };
  unpack();
  const std::uint64_t count = count_calls("open", "wsrcu");
  ASSERT_GT(count, 10u);
  for (const char* kind : {"kill", "drop"})
    for (std::uint64_t at = 1; at <= count; at += all_faults() ? 1 : 7) {
      unpack();
      operate("open", {kind, at, "wsrcu"});
      SCOPED_TRACE(std::string(kind) + " at " + std::to_string(at));
      const ArtifactStore opened = ArtifactStore::open(store(), OpenMode::existing);
      expect_sample(opened);
    }
  std::printf("migration: %llu calls\n", static_cast<unsigned long long>(count));
}

}  // namespace
}  // namespace quench::coordinator
