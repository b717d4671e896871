// A full disk, on a real one: a small tmpfs, mounted for the test. RocksDB's own logger ended the process
// here in builds with assertions; ours does not, and the store stops writing and goes on reading.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <cstring>
#include <mutex>

#include "tests/coordinator/store/store_fixture.h"

namespace quench::coordinator {
namespace {

using ::testing::HasSubstr;

class StoreFullDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (mount("quench-test", disk().c_str(), "tmpfs", 0, "size=48m") != 0)
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

}  // namespace
}  // namespace quench::coordinator
