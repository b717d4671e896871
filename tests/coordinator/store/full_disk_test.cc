// A full disk, on a real one: a small tmpfs, mounted for the test. RocksDB's own logger ended the process
// here in builds with assertions; ours does not, and the store stops writing and goes on reading.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <cstring>
#include <functional>
#include <mutex>
#include <optional>

#include "tests/coordinator/store/store_fixture.h"

namespace quench::coordinator {
namespace {

using ::testing::HasSubstr;

class StoreFullDiskTest : public ::testing::Test {
 protected:
  void SetUp() override { mount_disk("size=48m"); }
  void mount_disk(const std::string& options) {
    if (mount("quench-test", disk().c_str(), "tmpfs", 0, options.c_str()) != 0)
      GTEST_SKIP() << "mounting a tmpfs is not permitted here: " << std::strerror(errno);
    mounted_ = true;
  }
  void TearDown() override {
    if (mounted_) {
      ASSERT_EQ(umount(disk().c_str()), 0) << std::strerror(errno);
    }
  }
  std::filesystem::path disk() const { return directory_.path(); }
  // Takes all but `left_bytes` of the disk.
  void occupy(std::uint64_t left_bytes) {
    std::ofstream file(disk() / "ballast", std::ios::binary);
    const std::uint64_t free_bytes = std::filesystem::space(disk()).available;
    ASSERT_GT(free_bytes, left_bytes);
    const std::string block(1 << 16, 'x');
    for (std::uint64_t done = 0; done + left_bytes < free_bytes; done += block.size()) file << block;
    file.flush();
  }
  void free_up() { std::filesystem::remove(disk() / "ballast"); }

  TemporaryDirectory directory_;
  bool mounted_ = false;
};

// What was acknowledged before the disk was full.
const Bytes kKept = text_bytes("kept");

void expect_readable(const ArtifactStore& store, std::span<const Bytes> chunks) {
  for (const Bytes& chunk : chunks) EXPECT_EQ(store.get_chunk(sha256(chunk)), chunk);
  EXPECT_EQ(store.get_result("kept"), kKept);
  EXPECT_EQ(store.verify().corrupt, 0u);
}

TEST_F(StoreFullDiskTest, ChunksFillTheDiskAndReopenResumes) {
  std::mutex log_mutex;
  int errors_logged = 0;
  ArtifactStore store =
      ArtifactStore::open(disk() / "store", OpenMode::create, [&](LogLevel level, std::string_view) {
        const std::lock_guard lock(log_mutex);
        errors_logged += level == LogLevel::error;
      });
  const std::vector<Bytes> kept = {seeded_bytes(1, 1'000'000), seeded_bytes(2, 1'000'000)};
  for (const Bytes& chunk : kept) store.put_chunk(chunk);
  store.commit(Commit()
                   .put_result("kept", kKept)
                   .append_journal("job", kKept, std::vector{sha256(kept[0]), sha256(kept[1])}));
  occupy(12 << 20);

  std::vector<Digest> lost;
  const Error error = error_of([&] {
    for (int i = 0; i < 20; ++i) {
      lost.push_back(store.put_chunk(seeded_bytes(100 + i, 2'000'000)));
      store.commit(Commit().append_journal("job", text_bytes("big"), std::vector{lost.back()}));
    }
  });
  EXPECT_EQ(error.code(), ErrorCode::failed);
  EXPECT_EQ(exit_code(error.code()), 1);
  EXPECT_THAT(error.what(), HasSubstr("is full"));
  EXPECT_THAT(error.what(), HasSubstr(disk().string()));
  EXPECT_THAT(error.what(), HasSubstr("free some space"));
  ASSERT_TRUE(store.read_only_reason());

  // Read-only from now on, although a small write might fit.
  const std::uint64_t acknowledged = store.commit_number();
  const Error again = error_of([&] { store.commit(Commit().put_result("k", kKept)); });
  EXPECT_EQ(again.code(), ErrorCode::failed);
  EXPECT_THAT(again.what(), HasSubstr("takes no writes since one failed"));
  EXPECT_EQ(error_of([&] { store.put_chunk(text_bytes("small")); }).code(), ErrorCode::failed);
  expect_readable(store, kept);

  // Still full: reopening says so and leaves the store readable.
  const std::uint64_t left = std::filesystem::space(disk()).available;
  {
    std::ofstream rest(disk() / "rest", std::ios::binary);
    rest << std::string(left, 'y');
  }
  const Error still = error_of([&] { store.reopen(); });
  EXPECT_EQ(still.code(), ErrorCode::failed);
  EXPECT_THAT(still.what(), HasSubstr("is full"));
  expect_readable(store, kept);

  std::filesystem::remove(disk() / "rest");
  free_up();
  store.reopen();
  EXPECT_EQ(store.read_only_reason(), std::nullopt);
  EXPECT_GE(store.commit_number(), acknowledged);
  EXPECT_LE(store.commit_number(), acknowledged + 1);
  expect_readable(store, kept);
  const Digest more = store.put_chunk(seeded_bytes(500, 2'000'000));
  store.commit(Commit().append_journal("job", text_bytes("more"), std::vector{more}));
  EXPECT_EQ(store.read_journal("job").back().bytes, text_bytes("more"));
  EXPECT_EQ(store.verify().exit_status(), 0);
}

// The catalog's own log meets the end of the disk: small commits until nothing is left.
TEST_F(StoreFullDiskTest, CommitsFillTheDiskAndNoAcknowledgedOneIsLost) {
  std::uint64_t acknowledged = 0;
  const std::vector<Bytes> kept = {seeded_bytes(1, 1'000'000)};
  {
    ArtifactStore store = ArtifactStore::open(disk() / "store", OpenMode::create);
    store.put_chunk(kept[0]);
    store.commit(
        Commit().put_result("kept", kKept).append_journal("job", kKept, std::vector{sha256(kept[0])}));
    occupy(1 << 20);
    const Error error = error_of([&] {
      for (int i = 0; i < 2000; ++i)
        acknowledged = store.commit(Commit().append_journal("job", seeded_bytes(i, 100'000)));
    });
    EXPECT_EQ(error.code(), ErrorCode::failed);
    EXPECT_THAT(error.what(), HasSubstr("is full"));
    expect_readable(store, kept);
    // Closing a store on a full disk must not end the process.
  }
  const Error full = error_of([&] { ArtifactStore::open(disk() / "store", OpenMode::existing); });
  EXPECT_EQ(full.code(), ErrorCode::failed) << full.what();
  EXPECT_THAT(full.what(), HasSubstr("is full"));
  expect_readable(ArtifactStore::open(disk() / "store", OpenMode::read_only), kept);

  free_up();
  ArtifactStore store = ArtifactStore::open(disk() / "store", OpenMode::existing);
  EXPECT_GE(store.commit_number(), acknowledged);
  EXPECT_LE(store.commit_number(), acknowledged + 1);
  // Creation is commit 1, which holds no event.
  EXPECT_EQ(store.read_journal("job").size(), store.commit_number() - 1);
  expect_readable(store, kept);
  store.commit(Commit().append_journal("job", text_bytes("goes on")));
}

TEST_F(StoreFullDiskTest, AStoreCannotBeMadeOnAFullDisk) {
  occupy(0);
  const Error error = error_of([&] { ArtifactStore::open(disk() / "store", OpenMode::create); });
  EXPECT_EQ(error.code(), ErrorCode::failed);
  free_up();
  EXPECT_EQ(ArtifactStore::open(disk() / "store", OpenMode::create).commit_number(), 1u);
}

// --- Fifty levels ---------------------------------------------------------------------------------------

// Publishes, tags and collects until something has no room, at any of many fill levels. What was acknowledged is there, the error
// is clear, reading goes on, and once there is room again everything does, with nothing left behind.
class StoreFillLevels : public StoreFullDiskTest {
 protected:
  static constexpr int kLevelsFull = 50, kLevels = 5;
  static int levels() { return all_faults() ? kLevelsFull : kLevels; }
  // From 0 to just below kLevelsFull, spread.
  static std::uint64_t level(int index) { return static_cast<std::uint64_t>(index * (kLevelsFull / levels())); }
  std::filesystem::path path() const { return disk() / "store"; }

  // The error that stops it; `done` counts the names that were acknowledged.
  static Error work_until_full(ArtifactStore& store, int& done) {
    return error_of([&] {
      for (; done < 2000; ++done) {
        const std::string text = "object " + std::to_string(done);
        const Digest chunk = store.put_chunk(seeded_bytes(static_cast<std::uint64_t>(1000 + done), 150'000));
        store.commit(Commit().put_object(sha256(text), text_bytes(text), std::vector{chunk}).set_ref("org/m" + std::to_string(done), sha256(text), 0));
        if (done % 5 == 4) store.checkpoint(store.directory().parent_path() / ("backup-" + std::to_string(done)));
      }
    });
  }
  static void expect_names(const ArtifactStore& store, int done) {
    const std::size_t names = store.list_refs().size();
    EXPECT_GE(names, static_cast<std::size_t>(done));
    EXPECT_LE(names, static_cast<std::size_t>(done) + 1) << "at most the one that was told of an error";
    for (const Ref& ref : store.list_refs())
      for (const Digest& chunk : store.get_object(ref.object).chunks) EXPECT_FALSE(store.get_chunk(chunk).empty());
    EXPECT_EQ(store.verify().corrupt, 0u);
  }
  void drop_backups() const {
    std::vector<std::filesystem::path> backups = files_like(disk(), "backup-", "");
    for (const std::filesystem::path& backup : backups) std::filesystem::remove_all(backup);
  }
  // Room again: it goes on, a collection takes what the error left, and no file is there that a store does not have.
  void expect_healed(ArtifactStore& store, int done) const {
    CollectOptions options;
    options.name_grace_ms = 0;
    store.collect(options);
    std::uint64_t named_bytes = 0;
    for (const Ref& ref : store.list_refs())
      for (const Digest& chunk : store.get_object(ref.object).chunks) named_bytes += *store.chunk_size_bytes(chunk);
    EXPECT_EQ(store.stored_bytes(), named_bytes) << "rubbish is left";
    const Digest more = store.put_chunk(text_bytes("more"));
    store.commit(Commit().append_journal("job", text_bytes("on"), std::vector{more}));
    expect_names(store, done);
    EXPECT_EQ(store.verify().exit_status(), 0);
    for (const auto& entry : std::filesystem::directory_iterator(path())) {
      const std::string name = entry.path().filename();
      EXPECT_TRUE(name == "chunks" || name == "catalog" || name == "HEAD" || name == "LOCK") << name;
    }
  }
  // Works until full, then makes room with `free_up` and reopens.
  void fill_and_heal(const std::string& what, const std::function<void()>& free_up) {
    SCOPED_TRACE(what);
    int done = 0;
    std::optional<ArtifactStore> store;
    try {
      store.emplace(ArtifactStore::open(path(), OpenMode::create));
    } catch (const Error& error) {
      // No room for a store at all.
      EXPECT_EQ(error.code(), ErrorCode::failed) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(path().string()));
      free_up();
      store.emplace(ArtifactStore::open(path(), OpenMode::create));
      return expect_healed(*store, 0);
    }
    const Error error = work_until_full(*store, done);
    EXPECT_EQ(error.code(), ErrorCode::failed) << error.what();
    EXPECT_THAT(error.what(), HasSubstr("is full"));
    EXPECT_THAT(error.what(), HasSubstr(disk().string()));
    expect_names(*store, done);
    free_up();
    drop_backups();
    store->reopen();
    expect_names(*store, done);
    store.reset();
    store.emplace(ArtifactStore::open(path(), OpenMode::existing));
    expect_healed(*store, done);
  }
};

TEST_F(StoreFillLevels, OfBytes) {
  for (int i = 0; i < levels() && !HasFailure(); ++i) {
    // From nothing to 10 MB.
    occupy(level(i) * 200'000);
    fill_and_heal(std::to_string(level(i) * 200'000) + " bytes are free", [&] { free_up(); });
    std::filesystem::remove_all(path());
  }
}

TEST_F(StoreFillLevels, OfInodes) {
  if (IsSkipped()) return;
  ASSERT_EQ(umount(disk().c_str()), 0);
  mounted_ = false;
  mount_disk("size=64m,nr_inodes=300");
  std::filesystem::create_directory(disk() / "ballast");
  const auto take_all_but = [&](std::uint64_t left) {
    int files = 0;
    while (std::ofstream(disk() / "ballast" / std::to_string(files)).good()) ++files;
    while (left-- > 0) std::filesystem::remove(disk() / "ballast" / std::to_string(--files));
  };
  for (int i = 0; i < levels() && !HasFailure(); ++i) {
    take_all_but(level(i));
    fill_and_heal(std::to_string(level(i)) + " inodes are free", [&] {
      for (const auto& entry : std::filesystem::directory_iterator(disk() / "ballast")) std::filesystem::remove(entry.path());
    });
    std::filesystem::remove_all(path());
  }
}

// The store's own: refused before the disk is asked, so the store takes other writes all the time.
TEST_F(StoreFillLevels, OfTheStoresQuota) {
  for (int i = 0; i < levels() && !HasFailure(); ++i) {
    SCOPED_TRACE("level " + std::to_string(level(i)));
    std::optional<ArtifactStore> store = ArtifactStore::open(path(), OpenMode::create);
    Commit policy;
    put_quota(policy, level(i) * 30'000);
    store->commit(policy);
    int done = 0;
    const Error error = work_until_full(*store, done);
    EXPECT_EQ(error.code(), ErrorCode::refused) << error.what();
    EXPECT_THAT(error.what(), HasSubstr("the quota of the store"));
    EXPECT_EQ(done, static_cast<int>(level(i) * 30'000 / 150'000));
    EXPECT_EQ(store->read_only_reason(), std::nullopt);
    expect_names(*store, done);
    policy = {};
    put_quota(policy, std::nullopt);
    store->commit(policy);
    drop_backups();
    expect_healed(*store, done);
    store.reset();
    std::filesystem::remove_all(path());
  }
}

}  // namespace
}  // namespace quench::coordinator
