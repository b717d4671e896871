// A store whose files were cut or changed is refused with a clear message, or it is complete; it never
// opens with acknowledged data missing and nothing said. RocksDB alone does: a log cut at any place
// opened without the lost commits, a cut MANIFEST opened empty and deleted the data files.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>

#include "coordinator/store/artifact_store.h"
#include "coordinator/store/catalog.h"
#include "coordinator/store/head.h"
#include "coordinator/store/keys.h"
#include "tests/coordinator/store/store_fixture.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr int kCommits = 6;
constexpr std::size_t kChunkBytes = 3000;

Bytes manifest_bytes(int i) { return text_bytes("manifest " + std::to_string(i)); }

void fill(ArtifactStore& store) {
  for (int i = 0; i < kCommits; ++i) {
    const Digest chunk = store.put_chunk(seeded_bytes(i, kChunkBytes));
    const Digest object = sha256(manifest_bytes(i));
    store.commit(Commit()
                     .put_object(object, manifest_bytes(i), std::vector{chunk})
                     .set_ref("model", object, i)
                     .append_journal("job", text_bytes(std::to_string(i)), std::vector{chunk})
                     .put_result("r/" + std::to_string(i), text_bytes("yes")));
  }
}

// Everything that fill() was told is stored; throws what a reader would see otherwise.
void expect_complete(const ArtifactStore& store) {
  EXPECT_EQ(store.commit_number(), 1u + kCommits);
  EXPECT_EQ(store.read_journal("job").size(), std::size_t{kCommits});
  EXPECT_EQ(store.ref_history("model").size(), std::size_t{kCommits});
  for (int i = 0; i < kCommits; ++i) {
    const StoredObject object = store.get_object(sha256(manifest_bytes(i)));
    EXPECT_EQ(store.get_chunk(object.chunks.at(0)), seeded_bytes(i, kChunkBytes));
    EXPECT_EQ(store.get_result("r/" + std::to_string(i)), text_bytes("yes"));
  }
}

// Two stores made once: one closed, one as a crash leaves it (its files copied while it was open).
class DamageTest : public ::testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() {
    home_ = new TemporaryDirectory(fast_directory());
    {
      ArtifactStore store = ArtifactStore::open(home_->path() / "closed", OpenMode::create);
      fill(store);
      fs::copy(home_->path() / "closed", home_->path() / "crashed", fs::copy_options::recursive);
    }
  }
  static void TearDownTestSuite() {
    delete home_;
    home_ = nullptr;
  }
  void SetUp() override { fresh_copy(); }

  fs::path original() const { return home_->path() / GetParam(); }
  fs::path copy() const { return home_->path() / "copy"; }
  void fresh_copy() const {
    fs::remove_all(copy());
    fs::copy(original(), copy(), fs::copy_options::recursive);
  }
  // Opens the damaged copy and returns whether it was refused. A refused store must have been left as
  // it was: with the undamaged `file` put back it is complete.
  bool refused(const fs::path& file, const std::string& damage) const {
    try {
      const ArtifactStore store = ArtifactStore::open(copy(), OpenMode::existing);
      SCOPED_TRACE(file.string() + damage);
      expect_complete(store);
      EXPECT_EQ(store.verify().exit_status(), 0) << file << damage;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::corrupt) << file << damage << ": " << error.what();
      EXPECT_THAT(error.what(), HasSubstr(copy().string())) << "names the place";
      EXPECT_THAT(error.what(), HasSubstr("restore the store from a copy")) << "names the remedy";
      return true;
    }
    return false;
  }
  void expect_intact_with(const fs::path& file) const {
    fs::copy_file(original() / file, copy() / file, fs::copy_options::overwrite_existing);
    expect_complete(ArtifactStore::open(copy(), OpenMode::existing));
  }
  // Cuts `file` to every length that is a multiple of `step`, or within 100 bytes of the end.
  int cut_everywhere(const fs::path& file, std::uint64_t step) const {
    const std::uint64_t size_bytes = fs::file_size(original() / file);
    int refusals = 0;
    bool pristine = false;
    for (std::uint64_t length = 0; length < size_bytes; ++length) {
      if (length % step != 0 && length + 100 < size_bytes) continue;
      if (!pristine) fresh_copy();
      fs::resize_file(copy() / file, length);
      pristine = refused(file, " cut to " + std::to_string(length));
      refusals += pristine;
      if (pristine) fs::copy_file(original() / file, copy() / file, fs::copy_options::overwrite_existing);
    }
    expect_intact_with(file);
    return refusals;
  }
  // Changes every `step`-th byte of `file`.
  int flip_everywhere(const fs::path& file, std::uint64_t step) const {
    const std::uint64_t size_bytes = fs::file_size(original() / file);
    int refusals = 0;
    fresh_copy();
    for (std::uint64_t offset = 0; offset < size_bytes; offset += step) {
      damage_byte(copy() / file, offset);
      if (refused(file, " changed at " + std::to_string(offset))) {
        ++refusals;
        fs::copy_file(original() / file, copy() / file, fs::copy_options::overwrite_existing);
      } else {
        fresh_copy();
      }
    }
    expect_intact_with(file);
    return refusals;
  }
  fs::path current_manifest(const char* database) const {
    std::string name;
    std::getline(std::ifstream(original() / database / "CURRENT"), name);
    return fs::path(database) / name;
  }

  static inline TemporaryDirectory* home_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Stores, DamageTest, ::testing::Values("closed", "crashed"),
                         [](const auto& store) { return std::string(store.param); });

TEST_P(DamageTest, TheUndamagedStoreIsComplete) { EXPECT_FALSE(refused("nothing", "")); }

TEST_P(DamageTest, CutHead) { EXPECT_EQ(cut_everywhere("HEAD", 1), int(2 * kHeadSlotBytes)); }

TEST_P(DamageTest, CutManifestOfTheCatalog) {
  const fs::path file = current_manifest("catalog");
  EXPECT_EQ(cut_everywhere(file, 1), int(fs::file_size(original() / file)));
}

TEST_P(DamageTest, CutManifestOfTheChunks) {
  const fs::path file = current_manifest("chunks");
  EXPECT_EQ(cut_everywhere(file, 1), int(fs::file_size(original() / file)));
}

TEST_P(DamageTest, CutLogOfTheCatalog) {
  const std::vector<fs::path> logs = files_like(original() / "catalog", "", ".log");
  ASSERT_FALSE(logs.empty());
  const fs::path file = fs::path("catalog") / logs.back().filename();
  ASSERT_GT(fs::file_size(original() / file), 3000u) << "the commits are in the log";
  EXPECT_GT(cut_everywhere(file, all_faults() ? 1 : 29), 200);
}

TEST_P(DamageTest, CutCurrent) {
  EXPECT_GT(cut_everywhere("catalog/CURRENT", 1), 10);
  EXPECT_GT(cut_everywhere("chunks/CURRENT", 1), 10);
}

TEST_P(DamageTest, ChangedBytesOfTheFilesThatSayWhatThereIs) {
  EXPECT_EQ(flip_everywhere("HEAD", 7), 0) << "one slot is enough, and the catalog may be one ahead";
  for (const char* database : {"catalog", "chunks"}) {
    const fs::path manifest = current_manifest(database);
    EXPECT_GE(flip_everywhere(manifest, 5), int(fs::file_size(original() / manifest) / 5));
    EXPECT_GT(flip_everywhere(fs::path(database) / "CURRENT", 1), 10);
  }
  const std::vector<fs::path> logs = files_like(original() / "catalog", "", ".log");
  EXPECT_GT(flip_everywhere(fs::path("catalog") / logs.back().filename(), 61), 50);
}

TEST_P(DamageTest, ARemovedFileIsNoticed) {
  std::vector<fs::path> files;
  for (const char* database : {"catalog", "chunks"})
    for (const fs::path& file : files_like(original() / database, "", ""))
      files.push_back(fs::relative(file, original()));
  ASSERT_GT(files.size(), 8u);
  for (const fs::path& file : files) {
    const std::string name = file.filename().string();
    // RocksDB's options dump, identity and own lock hold nothing of the store; nor do the logs of the
    // chunks, whose writes are not logged.
    if (name.starts_with("OPTIONS") || name == "IDENTITY" || name == "LOCK") continue;
    if (file.parent_path() == "chunks" && name.ends_with(".log")) continue;
    fresh_copy();
    fs::remove(copy() / file);
    try {
      const ArtifactStore store = ArtifactStore::open(copy(), OpenMode::existing);
      EXPECT_EQ(store.verify().exit_status(), 1) << file;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::corrupt) << file << ": " << error.what();
    }
  }
}

TEST_P(DamageTest, ACatalogFromAnotherStoreIsRefused) {
  const fs::path other = home_->path() / "other";
  fs::remove_all(other);
  {
    // As many commits, so that the number alone does not tell.
    ArtifactStore store = ArtifactStore::open(other, OpenMode::create);
    for (int i = 0; i < kCommits; ++i) store.commit(Commit().put_result("k", text_bytes(std::to_string(i))));
  }
  fs::remove_all(copy() / "catalog");
  fs::copy(other / "catalog", copy() / "catalog", fs::copy_options::recursive);
  EXPECT_EQ(error_of([&] { ArtifactStore::open(copy(), OpenMode::existing); }).code(), ErrorCode::corrupt);
}

TEST_P(DamageTest, AnOlderCopyOfTheCatalogIsRefused) {
  {
    ArtifactStore store = ArtifactStore::open(copy(), OpenMode::existing);
    store.commit(Commit().put_result("more", text_bytes("1")));
    store.commit(Commit().put_result("more", text_bytes("2")));
  }
  fs::remove_all(copy() / "catalog");
  fs::copy(original() / "catalog", copy() / "catalog", fs::copy_options::recursive);
  EXPECT_EQ(error_of([&] { ArtifactStore::open(copy(), OpenMode::existing); }).code(), ErrorCode::corrupt);
}

// The data files: opening does not read them; reading does, and says so.
TEST_P(DamageTest, DamagedBlobsAreFoundOnReadAndByVerify) {
  for (const fs::path& blob : files_like(original() / "chunks", "", ".blob")) {
    const std::uint64_t size_bytes = fs::file_size(blob);
    for (const std::uint64_t offset : {size_bytes / 2, size_bytes * 2 / 3}) {
      fresh_copy();
      damage_byte(copy() / "chunks" / blob.filename(), offset);
      const ArtifactStore store = ArtifactStore::open(copy(), OpenMode::existing);
      int damaged = 0;
      for (int i = 0; i < kCommits; ++i) {
        try {
          EXPECT_EQ(store.get_chunk(sha256(seeded_bytes(i, kChunkBytes))), seeded_bytes(i, kChunkBytes));
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), ErrorCode::corrupt) << error.what();
          ++damaged;
        }
      }
      EXPECT_EQ(damaged, 1);
      const VerifyReport report = store.verify();
      EXPECT_EQ(report.exit_status(), 1);
      EXPECT_EQ(report.corrupt, 1u) << ::testing::PrintToString(report.findings);
      EXPECT_EQ(report.chunks, kCommits - 1u);
    }
    fresh_copy();
    fs::resize_file(copy() / "chunks" / blob.filename(), size_bytes / 2);
    const ArtifactStore store = ArtifactStore::open(copy(), OpenMode::existing);
    EXPECT_EQ(store.verify().exit_status(), 1);
  }
}

// A blob's record begins with lengths and checksums of RocksDB's that nothing needs: damage there is the same for the chunk that
// is read first as for all others, whose table block is in memory by then.
TEST_P(DamageTest, DamageBesideAChunksBytesTakesNothing) {
  int found = 0;
  for (const fs::path& blob : files_like(original() / "chunks", "", ".blob")) {
    std::ifstream file(blob, std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    for (int i = 0; i < kCommits; ++i) {
      const std::size_t at = bytes.find(as_text(seeded_bytes(i, kChunkBytes)));
      if (at == std::string::npos) continue;
      ++found;
      fresh_copy();
      damage_byte(copy() / "chunks" / blob.filename(), at - 40);
      const ArtifactStore store = ArtifactStore::open(copy(), OpenMode::existing);
      EXPECT_EQ(store.get_chunk(sha256(seeded_bytes(i, kChunkBytes))), seeded_bytes(i, kChunkBytes)) << i;
      EXPECT_EQ(store.verify().exit_status(), 0) << i;
    }
  }
  EXPECT_EQ(found, kCommits);
}

// Anywhere in any file that carries data: one bit changed, or the file cut. The damage is found when the store is opened or
// verified, or it hit nothing that is ever served: then everything is complete. QUENCH_FAULTS_FULL=1 takes thousands.
class AnywhereTest : public DamageTest {
 protected:
  // LOG, OPTIONS and IDENTITY hold nothing of the store, LOCK nothing at all.
  std::vector<fs::path> data_files() const {
    std::vector<fs::path> files = {"HEAD"};
    for (const char* database : {"catalog", "chunks"})
      for (const fs::path& file : files_like(original() / database, "", "")) {
        const std::string name = file.filename().string();
        if (!name.starts_with("OPTIONS") && name != "IDENTITY" && name != "LOCK" && fs::file_size(file) > 0)
          files.push_back(fs::relative(file, original()));
      }
    return files;
  }
  enum class Outcome { refused, found_by_verify, complete };
  Outcome outcome(const std::string& what) const {
    try {
      const ArtifactStore store = ArtifactStore::open(copy(), OpenMode::read_only);
      const VerifyReport report = store.verify();
      if (report.exit_status() != 0) {
        EXPECT_FALSE(report.findings.empty()) << what;
        return Outcome::found_by_verify;
      }
      SCOPED_TRACE(what);
      expect_complete(store);
      return Outcome::complete;
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::corrupt || error.code() == ErrorCode::bad_input) << what << ": " << error.what();
      EXPECT_THAT(error.what(), HasSubstr(copy().string())) << what << ": names the place";
      return Outcome::refused;
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Stores, AnywhereTest, ::testing::Values("closed", "crashed"),
                         [](const auto& store) { return std::string(store.param); });

TEST_P(AnywhereTest, IsFoundOrHitsNothing) {
  const int flips = all_faults() ? 5000 : 150, cuts = all_faults() ? 500 : 40;
  const std::vector<fs::path> files = data_files();
  std::mt19937_64 random(GetParam()[1]);
  std::map<std::string, std::array<int, 3>> outcomes;
  fresh_copy();
  for (int run = 0; run < flips + cuts && !HasFailure(); ++run) {
    const fs::path& file = files[random() % files.size()];
    const std::uint64_t size_bytes = fs::file_size(original() / file), at = random() % size_bytes;
    std::string what = file.string();
    if (run < flips) {
      std::fstream bytes(copy() / file, std::ios::binary | std::ios::in | std::ios::out);
      bytes.seekg(static_cast<std::streamoff>(at));
      const int before = bytes.get();
      bytes.seekp(static_cast<std::streamoff>(at));
      bytes.put(static_cast<char>(before ^ 1 << random() % 8));
      what += " bit changed at " + std::to_string(at);
    } else {
      fs::resize_file(copy() / file, at);
      what += " cut to " + std::to_string(at);
    }
    const Outcome found = outcome(what);
    const std::string kind = run < flips ? "changed" : "cut";
    ++outcomes[kind + " " + file.parent_path().string() + "/" + file.extension().string()][static_cast<std::size_t>(found)];
    // Read-only opening has changed nothing else.
    fs::copy_file(original() / file, copy() / file, fs::copy_options::overwrite_existing);
  }
  EXPECT_EQ(outcome("nothing"), Outcome::complete);
  for (const auto& [kind, counts] : outcomes)
    std::printf("%-24s %5d refused %5d by verify %5d harmless\n", kind.c_str(), counts[0], counts[1], counts[2]);
}

// --- Changes made through RocksDB itself, so that its own checksums are right --------------------------

class TamperTest : public DamageTest {
 protected:
  // Replaces values of the catalog behind the store's back.
  void tamper(std::size_t family, const std::string& key, const std::function<void(Bytes&)>& change) const {
    Database catalog(copy() / "catalog", DatabaseProfile::records, DatabaseAccess::read_write,
                     {"meta", "objects", "refs", "journal", "results"}, {});
    std::optional<Bytes> value = catalog.get(family, key);
    ASSERT_TRUE(value);
    change(*value);
    const Database::Put puts[] = {{family, key, as_text(*value)}};
    catalog.write(puts);
  }
};

INSTANTIATE_TEST_SUITE_P(Stores, TamperTest, ::testing::Values("closed"),
                         [](const auto& store) { return std::string(store.param); });

TEST_P(TamperTest, AChangedJournalEventBreaksTheChain) {
  for (const int event : {0, kCommits / 2, kCommits - 1}) {
    fresh_copy();
    tamper(Catalog::journal, versioned_key("job", event), [](Bytes& value) { value.back() ^= 1; });
    const ArtifactStore store = ArtifactStore::open(copy(), OpenMode::existing);
    const Error error = error_of([&] { store.read_journal("job"); });
    EXPECT_EQ(error.code(), ErrorCode::corrupt);
    EXPECT_THAT(error.what(), HasSubstr("journal of job job"));
    EXPECT_THAT(error.what(), HasSubstr("changed"));
    EXPECT_EQ(store.verify().exit_status(), 1);
  }
}

TEST_P(TamperTest, SwappedJournalEventsBreakTheChain) {
  Bytes first;
  tamper(Catalog::journal, versioned_key("job", 1), [&](Bytes& value) { first = value; });
  tamper(Catalog::journal, versioned_key("job", 2), [&](Bytes& value) { value.swap(first); });
  tamper(Catalog::journal, versioned_key("job", 1), [&](Bytes& value) { value = first; });
  const ArtifactStore store = ArtifactStore::open(copy(), OpenMode::existing);
  EXPECT_EQ(error_of([&] { store.read_journal("job"); }).code(), ErrorCode::corrupt);
}

TEST_P(TamperTest, ChangedRecordsAreFoundOnRead) {
  const Digest object = sha256(manifest_bytes(2));
  tamper(Catalog::objects, std::string(as_text(object.bytes)), [](Bytes& value) { value.back() ^= 1; });
  tamper(Catalog::results, "r/3", [](Bytes& value) { value.back() ^= 1; });
  tamper(Catalog::refs, versioned_key("model", 1 + kCommits), [](Bytes& value) { value.back() ^= 1; });
  const ArtifactStore store = ArtifactStore::open(copy(), OpenMode::existing);
  EXPECT_EQ(error_of([&] { store.get_object(object); }).code(), ErrorCode::corrupt);
  EXPECT_EQ(error_of([&] { store.get_result("r/3"); }).code(), ErrorCode::corrupt);
  EXPECT_EQ(error_of([&] { store.find_ref("model"); }).code(), ErrorCode::corrupt);
  const VerifyReport report = store.verify();
  EXPECT_EQ(report.exit_status(), 1);
  EXPECT_GE(report.corrupt, 3u);
  EXPECT_EQ(report.objects, kCommits - 1u) << "the walk goes on after a bad record";
}

TEST_P(TamperTest, ARecordMovedToAnotherKeyIsFoundOnRead) {
  Bytes other;
  tamper(Catalog::results, "r/1", [&](Bytes& value) { other = value; });
  tamper(Catalog::results, "r/4", [&](Bytes& value) { value = other; });
  const ArtifactStore store = ArtifactStore::open(copy(), OpenMode::existing);
  EXPECT_EQ(error_of([&] { store.get_result("r/4"); }).code(), ErrorCode::corrupt);
}

// --- Versions -----------------------------------------------------------------------------------------

TEST_P(TamperTest, RefusesANewerFormatByHead) {
  // The first 12 bytes of a slot keep their meaning in every format; the rest may be anything.
  std::fstream file(copy() / "HEAD", std::ios::binary | std::ios::in | std::ios::out);
  for (const std::size_t slot : {std::size_t{0}, kHeadSlotBytes}) {
    file.seekp(static_cast<std::streamoff>(slot + 8));
    file.put(7);
  }
  file.close();
  const Error error = error_of([&] { ArtifactStore::open(copy(), OpenMode::create); });
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
  EXPECT_THAT(error.what(), HasSubstr("format 7"));
  EXPECT_THAT(error.what(), HasSubstr("reads format 2"));
  EXPECT_THAT(error.what(), HasSubstr("use the newer quench"));
}

TEST_P(TamperTest, RefusesANewerFormatByTheCatalog) {
  tamper(Catalog::meta, "format", [](Bytes& value) {
    std::string payload;
    append_u64(payload, 3);
    value = text_bytes(seal("meta", "format", payload));
  });
  const Error error = error_of([&] { ArtifactStore::open(copy(), OpenMode::create); });
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
  EXPECT_THAT(error.what(), HasSubstr("of format 3"));
}

// --- The window between the catalog's write and HEAD's --------------------------------------------------

TEST_P(DamageTest, ACatalogOneCommitAheadOfHeadIsTaken) {
  const std::string head_before = [&] {
    std::ifstream file(copy() / "HEAD", std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }();
  { ArtifactStore::open(copy(), OpenMode::existing).commit(Commit().put_result("late", text_bytes("1"))); }
  std::ofstream(copy() / "HEAD", std::ios::binary) << head_before;
  {
    const ArtifactStore store = ArtifactStore::open(copy(), OpenMode::existing);
    EXPECT_EQ(store.commit_number(), 2u + kCommits);
    EXPECT_EQ(store.get_result("late"), text_bytes("1"));
    EXPECT_EQ(HeadFile(copy() / "HEAD", O_RDONLY).newest().commit, 2u + kCommits) << "HEAD followed";
  }
  // Two ahead never comes from a crash.
  { ArtifactStore::open(copy(), OpenMode::existing).commit(Commit().put_result("later", text_bytes("1"))); }
  std::ofstream(copy() / "HEAD", std::ios::binary) << head_before;
  EXPECT_EQ(error_of([&] { ArtifactStore::open(copy(), OpenMode::existing); }).code(), ErrorCode::corrupt);
}

TEST_P(DamageTest, ATornHeadSlotFallsBackToTheOther) {
  {
    ArtifactStore store = ArtifactStore::open(copy(), OpenMode::existing);
    store.commit(Commit().put_result("late", text_bytes("1")));
    const std::uint64_t sequence = HeadFile(copy() / "HEAD", O_RDONLY).newest().sequence;
    fs::remove_all(home_->path() / "torn");
    fs::copy(copy(), home_->path() / "torn", fs::copy_options::recursive);
    damage_byte(home_->path() / "torn" / "HEAD", (sequence % 2) * kHeadSlotBytes + 30);
  }
  const ArtifactStore store = ArtifactStore::open(home_->path() / "torn", OpenMode::existing);
  EXPECT_EQ(store.commit_number(), 2u + kCommits);
}

}  // namespace
}  // namespace quench::coordinator
