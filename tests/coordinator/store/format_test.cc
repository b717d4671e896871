// The sample stores of tests/fixtures/stores, one of each format that Quench ever wrote: read as they are, and brought
// to this build's format by the first opening for writing. To add the sample of a new format, run this program with --gtest_also_run_disabled_tests and
// QUENCH_WRITE_SAMPLE_STORE=DIR, and pack the new store:
//   tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cJf formatN.tar.xz formatN
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "coordinator/store/catalog.h"
#include "coordinator/store/head.h"
#include "coordinator/store/keys.h"
#include "tests/coordinator/store/sample_store.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

const fs::path kSamples = fs::path(QUENCH_SOURCE_DIR) / "tests/fixtures/stores";

class StoreFormat : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  std::string name() const { return "format" + std::to_string(GetParam()); }
  fs::path store() const { return directory_.path() / name(); }
  void SetUp() override {
    const fs::path archive = kSamples / (name() + ".tar.xz");
    ASSERT_TRUE(fs::exists(archive)) << "each format has its sample for ever";
    ASSERT_EQ(std::system(("tar -C " + directory_.path().string() + " -xJf " + archive.string()).c_str()), 0);
  }
  std::uint32_t format_of_catalog() const {
    return Catalog(store() / "catalog", DatabaseAccess::read_only, {}).format();
  }
  TemporaryDirectory directory_{fast_directory()};
};

INSTANTIATE_TEST_SUITE_P(Every, StoreFormat, ::testing::Range(kStoreFormatOldest, kStoreFormat + 1),
                         [](const auto& format) { return std::to_string(format.param); });

TEST_P(StoreFormat, IsReadAsItIs) {
  {
    const ArtifactStore sample = ArtifactStore::open(store(), OpenMode::read_only);
    expect_sample(sample);
    if (GetParam() >= 2) expect_sample_2(sample);
  }
  EXPECT_EQ(format_of_catalog(), GetParam()) << "reading changes nothing";
}

TEST_P(StoreFormat, IsBroughtToThisFormatByWriting) {
  std::uint64_t commit = 0;
  {
    const ArtifactStore sample = ArtifactStore::open(store(), OpenMode::existing);
    expect_sample(sample);
    if (GetParam() >= 2) expect_sample_2(sample);
    commit = sample.commit_number();
  }
  EXPECT_EQ(format_of_catalog(), kStoreFormat);
  ArtifactStore sample = ArtifactStore::open(store(), OpenMode::existing);
  EXPECT_EQ(sample.commit_number(), commit) << "once";
  sample.commit(Commit().put_result("new", text_bytes("1")));
  sample.collect({});
  expect_sample(sample);
}

// Both slots of HEAD say the new format, so that an older build refuses it by its first bytes.
TEST_P(StoreFormat, HeadSaysTheNewFormatAfterwards) {
  { ArtifactStore::open(store(), OpenMode::existing); }
  std::ifstream head(store() / "HEAD", std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(head), {});
  ASSERT_EQ(bytes.size(), 2 * kHeadSlotBytes);
  for (const std::size_t slot : {std::size_t{0}, kHeadSlotBytes})
    EXPECT_EQ(static_cast<std::uint32_t>(static_cast<std::uint8_t>(bytes[slot + 8])), kStoreFormat);
}

TEST(StoreFormatSample, DISABLED_Write) {
  const char* to = std::getenv("QUENCH_WRITE_SAMPLE_STORE");
  ASSERT_NE(to, nullptr) << "QUENCH_WRITE_SAMPLE_STORE names no directory";
  const fs::path directory = fs::path(to) / ("format" + std::to_string(kStoreFormat));
  {
    ArtifactStore store = ArtifactStore::open(directory, OpenMode::create);
    write_sample(store);
    write_sample_2(store);
  }
  fs::remove(directory / "LOCK");
}

}  // namespace
}  // namespace quench::coordinator
