// What the store keeps, and what it refuses to keep.
#include "coordinator/store/artifact_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "coordinator/store/keys.h"
#include "tests/coordinator/store/store_fixture.h"

namespace quench::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ArtifactStoreTest : public ::testing::Test {
 protected:
  ArtifactStore open(OpenMode mode = OpenMode::create) { return ArtifactStore::open(path(), mode); }
  std::filesystem::path path() const { return directory_.path() / "store"; }
  TemporaryDirectory directory_;
};

TEST_F(ArtifactStoreTest, KeepsEverythingACommitHolds) {
  const Bytes chunk_a = seeded_bytes(1, 3'000'000), chunk_b = seeded_bytes(2, 17);
  const Bytes manifest = text_bytes("a manifest");
  const Digest object = sha256(manifest);
  Digest a, b;
  {
    ArtifactStore store = open();
    EXPECT_EQ(store.commit_number(), 1u);  // creation is the first commit
    a = store.put_chunk(chunk_a);
    b = store.put_chunk(chunk_b);
    Commit commit;
    commit.put_object(object, manifest, std::vector{a, b})
        .set_ref("org/model:v1", object, 1700000000123)
        .append_journal("job-7", text_bytes("planned"))
        .append_journal("job-7", text_bytes("block 0"), std::vector{a})
        .put_result("eval/1", text_bytes("passed"))
        .put_result("eval/2", text_bytes(""));
    EXPECT_EQ(store.commit(commit), 2u);
  }
  const ArtifactStore store = open(OpenMode::existing);
  EXPECT_EQ(store.commit_number(), 2u);
  EXPECT_EQ(store.get_chunk(a), chunk_a);
  EXPECT_EQ(store.get_chunk(b), chunk_b);
  EXPECT_EQ(store.chunk_size_bytes(a), chunk_a.size());
  const StoredObject stored = store.get_object(object);
  EXPECT_EQ(stored.bytes, manifest);
  EXPECT_THAT(stored.chunks, ElementsAre(a, b));
  EXPECT_THAT(store.list_objects(), ElementsAre(object));
  const std::optional<Ref> ref = store.find_ref("org/model:v1");
  ASSERT_TRUE(ref);
  EXPECT_EQ(ref->object, object);
  EXPECT_EQ(ref->time_ms, 1700000000123u);
  EXPECT_EQ(ref->commit, 2u);
  const std::vector<JournalEvent> events = store.read_journal("job-7");
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].bytes, text_bytes("planned"));
  EXPECT_EQ(events[1].bytes, text_bytes("block 0"));
  EXPECT_EQ(events[1].sequence, 1u);
  EXPECT_THAT(events[1].chunks, ElementsAre(a));
  EXPECT_THAT(store.list_jobs(), ElementsAre("job-7"));
  EXPECT_EQ(store.get_result("eval/1"), text_bytes("passed"));
  EXPECT_EQ(store.get_result("eval/2"), Bytes{});
  EXPECT_EQ(store.get_result("eval/3"), std::nullopt);
  const VerifyReport report = store.verify();
  EXPECT_EQ(report.exit_status(), 0) << ::testing::PrintToString(report.findings);
  EXPECT_EQ(report.chunks, 2u);
  EXPECT_EQ(report.chunk_bytes, chunk_a.size() + chunk_b.size());
  EXPECT_EQ(report.objects, 1u);
  EXPECT_EQ(report.refs, 1u);
  EXPECT_EQ(report.events, 2u);
  EXPECT_EQ(report.results, 2u);
}

TEST_F(ArtifactStoreTest, RefusesBytesWithTheWrongDigest) {
  ArtifactStore store = open();
  const Bytes bytes = text_bytes("these bytes");
  const Digest other = sha256("other bytes");
  const Error chunk = error_of([&] { store.put_chunk(other, bytes); });
  EXPECT_EQ(chunk.code(), ErrorCode::corrupt);
  EXPECT_THAT(chunk.what(), HasSubstr(other.hex()));
  EXPECT_FALSE(store.has_chunk(other));
  EXPECT_EQ(error_of([&] { Commit().put_object(other, bytes); }).code(), ErrorCode::corrupt);
}

TEST_F(ArtifactStoreTest, RefusesSizesBeyondTheLimits) {
  ArtifactStore store = open();
  EXPECT_EQ(error_of([&] { store.put_chunk(Bytes{}); }).code(), ErrorCode::bad_input);
  const Error error = error_of([&] { store.put_chunk(Bytes(kChunkBytesMax + 1)); });
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
  EXPECT_THAT(error.what(), HasSubstr("16777216"));
  const Digest largest = store.put_chunk(Bytes(kChunkBytesMax));
  EXPECT_EQ(store.get_chunk(largest).size(), kChunkBytesMax);
}

TEST_F(ArtifactStoreTest, WritesNothingWhenACommitNamesAMissingChunk) {
  ArtifactStore store = open();
  const Bytes manifest = text_bytes("m");
  Commit commit;
  commit.put_object(sha256(manifest), manifest, std::vector{sha256("never put")}).put_result("k", manifest);
  const Error error = error_of([&] { store.commit(commit); });
  EXPECT_EQ(error.code(), ErrorCode::failed);
  EXPECT_THAT(error.what(), HasSubstr(sha256("never put").hex()));
  EXPECT_FALSE(store.has_object(sha256(manifest)));
  EXPECT_EQ(store.get_result("k"), std::nullopt);
  EXPECT_EQ(store.read_only_reason(), std::nullopt);
  EXPECT_EQ(store.commit(Commit().put_result("k", manifest)), 2u);
}

TEST_F(ArtifactStoreTest, AnEmptyCommitWritesNothing) {
  ArtifactStore store = open();
  EXPECT_EQ(store.commit(Commit()), 1u);
}

TEST_F(ArtifactStoreTest, NamesPointAtObjectsAndKeepTheirHistory) {
  ArtifactStore store = open();
  const Bytes one = text_bytes("one"), two = text_bytes("two");
  EXPECT_EQ(error_of([&] { store.commit(Commit().set_ref("model", sha256(one), 5)); }).code(),
            ErrorCode::bad_input);
  store.commit(Commit().put_object(sha256(one), one).set_ref("model", sha256(one), 10));
  // A name whose beginning is another name is not its history.
  store.commit(Commit().put_object(sha256(two), two).set_ref("model-b", sha256(two), 15));
  store.commit(Commit().set_ref("model", sha256(two), 20));
  EXPECT_EQ(store.find_ref("model")->object, sha256(two));
  store.commit(Commit().delete_ref("model", 30));
  EXPECT_EQ(store.find_ref("model"), std::nullopt);
  EXPECT_EQ(error_of([&] { store.commit(Commit().delete_ref("model", 40)); }).code(), ErrorCode::bad_input);
  const std::vector<Ref> history = store.ref_history("model");
  ASSERT_EQ(history.size(), 3u);
  EXPECT_EQ(history[0].object, sha256(one));
  EXPECT_EQ(history[1].object, sha256(two));
  EXPECT_EQ(history[1].time_ms, 20u);
  EXPECT_TRUE(history[2].object.is_none());
  ASSERT_EQ(store.list_refs().size(), 1u);
  EXPECT_EQ(store.list_refs()[0].name, "model-b");
  EXPECT_THAT(store.ref_history("unused"), IsEmpty());
}

TEST_F(ArtifactStoreTest, ResolvesNamesDigestsAndUniquePrefixes) {
  ArtifactStore store = open();
  // Objects until two of them share six hexadecimal digits would be many; search for a pair whose
  // digests share as few as needed: the prefix rule is the same for longer ones.
  Commit commit;
  std::vector<Digest> digests;
  for (int i = 0; i < 50; ++i) {
    const Bytes bytes = text_bytes("object " + std::to_string(i));
    digests.push_back(sha256(bytes));
    commit.put_object(digests.back(), bytes);
  }
  const std::string facade = digests[3].hex().substr(0, 8);
  commit.set_ref("m", digests[0], 1).set_ref(facade, digests[1], 1);
  store.commit(commit);
  EXPECT_EQ(store.resolve("m"), digests[0]);
  EXPECT_EQ(store.resolve(digests[7].hex()), digests[7]);
  EXPECT_EQ(store.resolve(digests[7].hex().substr(0, 6)), digests[7]);
  EXPECT_EQ(store.resolve(digests[7].hex().substr(0, 7)), digests[7]);
  std::string upper = digests[7].hex().substr(0, 13);
  std::ranges::transform(upper, upper.begin(), [](char c) { return char(std::toupper(c)); });
  EXPECT_EQ(store.resolve(upper), digests[7]);
  EXPECT_EQ(store.resolve(facade), digests[1]) << "a name wins over a digest";
  for (const std::string& unknown : {std::string("other"), sha256("x").hex(), sha256("x").hex().substr(0, 6),
                                     digests[7].hex().substr(0, 5)})
    EXPECT_EQ(error_of([&] { store.resolve(unknown); }).code(), ErrorCode::bad_input) << unknown;
}

TEST_F(ArtifactStoreTest, RefusesAPrefixThatFitsTwoObjects) {
  // Two texts whose SHA-256 share their first 24 bits: found by going through the numbers once.
  std::map<std::string, int> seen;
  Bytes first, second;
  for (int i = 0; second.empty(); ++i) {
    const std::string text = std::to_string(i);
    const auto [place, fresh] = seen.emplace(sha256(text).hex().substr(0, 6), i);
    if (fresh) continue;
    first = text_bytes(std::to_string(place->second));
    second = text_bytes(text);
  }
  ArtifactStore store = open();
  store.commit(Commit().put_object(sha256(first), first).put_object(sha256(second), second));
  const std::string shared = sha256(first).hex().substr(0, 6);
  const Error error = error_of([&] { store.resolve(shared); });
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
  EXPECT_THAT(error.what(), HasSubstr("fits 2 objects"));
  EXPECT_EQ(store.resolve(sha256(second).hex().substr(0, 20)), sha256(second));
}

TEST_F(ArtifactStoreTest, RefusesNamesOutsideTheRule) {
  for (const char* good : {"model", "org/model", "org/model:tag", "a/b/c:1.0_x-y", "7b"}) {
    EXPECT_NO_THROW(check_name("name", good)) << good;
  }
  const std::string zero_inside("a\0b", 3);
  for (const std::string& bad :
       {std::string(), std::string("/model"), std::string("org/"), std::string("a//b"), std::string(".."),
        std::string("a/../b"), std::string("a:b:c"), std::string("a:b/c"), std::string("-x"),
        std::string("a b"), std::string("a:"), std::string("m\xc3\xb6"), zero_inside, std::string(201, 'a'),
        sha256("x").hex()})
    EXPECT_EQ(error_of([&] { check_name("name", bad); }).code(), ErrorCode::bad_input) << bad;
}

TEST_F(ArtifactStoreTest, ScansResultsByPrefixInOrder) {
  ArtifactStore store = open();
  Commit commit;
  for (const char* key : {"b/2", "a/1", "b/1", "b", "c/1", "b/3"}) commit.put_result(key, text_bytes(key));
  store.commit(commit);
  store.commit(Commit().put_result("b/2", text_bytes("replaced")));
  std::vector<std::string> keys;
  store.scan_results("b/", [&](std::string_view key, Bytes bytes) {
    keys.emplace_back(key);
    EXPECT_EQ(bytes, text_bytes(key == "b/2" ? "replaced" : key));
    return true;
  });
  EXPECT_THAT(keys, ElementsAre("b/1", "b/2", "b/3"));
  int visits = 0;
  store.scan_results("", [&](std::string_view, Bytes) { return ++visits < 2; });
  EXPECT_EQ(visits, 2);
}

TEST_F(ArtifactStoreTest, KeepsJournalsOfDifferentJobsApart) {
  ArtifactStore store = open();
  for (int i = 0; i < 300; ++i)
    store.commit(Commit().append_journal(i % 2 ? "odd" : "odd-not", text_bytes(std::to_string(i))));
  const std::vector<JournalEvent> odd = store.read_journal("odd");
  ASSERT_EQ(odd.size(), 150u);
  for (int i = 0; i < 150; ++i) EXPECT_EQ(odd[i].bytes, text_bytes(std::to_string(2 * i + 1)));
  EXPECT_THAT(store.list_jobs(), ElementsAre("odd", "odd-not"));
  EXPECT_THAT(store.read_journal("unknown"), IsEmpty());
}

TEST_F(ArtifactStoreTest, TakesChunksAndCommitsFromManyThreads) {
  constexpr int kThreads = 4, kChunksEach = 40;
  ArtifactStore store = open();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&store, t] {
      const std::string job = "job-" + std::to_string(t);
      for (int i = 0; i < kChunksEach; ++i) {
        // Half of the chunks are put by every thread.
        const Bytes bytes = seeded_bytes(i % 2 ? i : 1000 * (t + 1) + i, 50'000);
        const Digest digest = store.put_chunk(bytes);
        if (i % 10 == 9) store.commit(Commit().append_journal(job, text_bytes("at"), std::vector{digest}));
        EXPECT_EQ(store.get_chunk(digest), bytes);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(store.commit_number(), 1u + kThreads * kChunksEach / 10);
  const VerifyReport report = store.verify();
  EXPECT_EQ(report.exit_status(), 0) << ::testing::PrintToString(report.findings);
  EXPECT_EQ(report.chunks, kThreads * kChunksEach / 2 + kChunksEach / 2u);
  EXPECT_EQ(report.events, kThreads * kChunksEach / 10u);
}

TEST_F(ArtifactStoreTest, VerifyAsksTheCallerWhatAnObjectIsWorth) {
  ArtifactStore store = open();
  for (const char* text : {"good", "foreign", "future"})
    store.commit(Commit().put_object(sha256(text), text_bytes(text)));
  const VerifyReport report = store.verify([](const StoredObject& object) {
    ObjectOpinion opinion;
    if (object.bytes == text_bytes("foreign")) opinion = {ObjectOpinion::Kind::untrusted, "no run record"};
    if (object.bytes == text_bytes("future")) opinion = {ObjectOpinion::Kind::unverifiable, "schema 9"};
    return opinion;
  });
  EXPECT_EQ(report.untrusted, 1u);
  EXPECT_EQ(report.unverifiable, 1u);
  EXPECT_EQ(report.exit_status(), 6);
  EXPECT_EQ(store.verify().exit_status(), 0);
}

TEST_F(ArtifactStoreTest, AnOrganisationsNamesHoldNoMoreThanItsQuota) {
  ArtifactStore store = open();
  const auto publish = [&](const std::string& name, const std::vector<int>& seeds) {
    std::vector<Digest> chunks;
    for (const int seed : seeds) chunks.push_back(store.put_chunk(seeded_bytes(static_cast<std::uint64_t>(seed), 1'000'000)));
    const std::string text = ::testing::PrintToString(seeds);
    store.commit(Commit().put_object(sha256(text), text_bytes(text), chunks).set_ref(name, sha256(text), 0));
    return sha256(text);
  };
  Commit policy;
  put_organisation_quota(policy, "lab", 3'000'000);
  put_organisation_quota(policy, "other", 1'000'000);
  store.commit(policy);
  publish("lab/a:v1", {1, 2});
  publish("lab/b", {2, 3});  // one chunk is shared, and counts once
  EXPECT_EQ(store.organisation_bytes("lab"), 3'000'000u);
  const std::uint64_t commits = store.commit_number();
  const Error full = error_of([&] { publish("lab/c", {4}); });
  EXPECT_EQ(full.code(), ErrorCode::refused);
  for (const char* part : {"the quota of lab", "hold 3.00 MB", "would hold 4.00 MB of 3.00 MB", "quench artifacts rm lab/", "--org-quota lab="})
    EXPECT_THAT(full.what(), HasSubstr(part));
  EXPECT_EQ(store.commit_number(), commits);
  EXPECT_FALSE(store.find_ref("lab/c"));
  EXPECT_EQ(store.read_only_reason(), std::nullopt) << "others go on";
  publish("labs/c", {4});
  publish("c", {4});
  // What is there already counts for whoever names it.
  const Digest shared = store.find_ref("lab/a:v1")->object;
  EXPECT_EQ(error_of([&] { store.commit(Commit().set_ref("other/a", shared, 0)); }).code(), ErrorCode::refused);
  store.commit(Commit().set_ref("lab/a:v2", shared, 0));  // takes nothing more
  // A name that ends makes room in the commit that ends it.
  const Digest third = publish("third", {5, 6});
  store.commit(Commit().delete_ref("lab/b", 1).set_ref("lab/a:v1", third, 1).delete_ref("lab/a:v2", 1));
  EXPECT_EQ(store.organisation_bytes("lab"), 2'000'000u);
  // Below what is taken: less may still be named, more not.
  policy = {};
  put_organisation_quota(policy, "lab", 500'000);
  store.commit(policy);
  publish("lab/a:v1", {7});
  EXPECT_EQ(error_of([&] { publish("lab/d", {8}); }).code(), ErrorCode::refused);
  policy = {};
  put_organisation_quota(policy, "lab", std::nullopt);
  store.commit(policy);
  publish("lab/d", {8});
  EXPECT_EQ(store.policy().organisation_quotas.size(), 1u);
}

TEST_F(ArtifactStoreTest, ReadOnlyModeReadsAndChangesNothing) {
  const Bytes bytes = seeded_bytes(5, 100'000);
  {
    ArtifactStore store = open();
    store.put_chunk(bytes);
    store.commit(Commit().append_journal("j", text_bytes("e"), std::vector{sha256(bytes)}));
  }
  std::map<std::string, Digest> before, after;
  const auto take_stock = [&](std::map<std::string, Digest>& stock) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path()))
      if (entry.is_regular_file()) stock[entry.path().string()] = sha256_file(entry.path());
  };
  take_stock(before);
  {
    ArtifactStore store = open(OpenMode::read_only);
    EXPECT_EQ(store.get_chunk(sha256(bytes)), bytes);
    EXPECT_EQ(store.verify().exit_status(), 0);
    EXPECT_EQ(error_of([&] { store.put_chunk(text_bytes("new")); }).code(), ErrorCode::bad_input);
    EXPECT_EQ(error_of([&] { store.commit(Commit().put_result("k", bytes)); }).code(), ErrorCode::bad_input);
  }
  take_stock(after);
  EXPECT_EQ(before, after);
}

TEST_F(ArtifactStoreTest, HasOneOwner) {
  const ArtifactStore owner = open();
  EXPECT_EQ(owner.socket_path(), path() / "quench.sock");
  for (OpenMode mode : {OpenMode::create, OpenMode::existing, OpenMode::read_only}) {
    const Error error = error_of([&] { open(mode); });
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_THAT(error.what(), HasSubstr("in use by process " + std::to_string(getpid()) + " on "));
    EXPECT_THAT(error.what(), HasSubstr((path() / "quench.sock").string()));
  }
}

TEST_F(ArtifactStoreTest, SaysWhatIsNotAStore) {
  std::filesystem::create_directories(directory_.path() / "other");
  std::ofstream(directory_.path() / "other" / "notes.txt") << "mine";
  std::ofstream(directory_.path() / "file") << "mine";
  const auto message = [&](const char* name, OpenMode mode) {
    const Error error = error_of([&] { ArtifactStore::open(directory_.path() / name, mode); });
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    return std::string(error.what());
  };
  EXPECT_THAT(message("file", OpenMode::create), HasSubstr("is a file"));
  EXPECT_THAT(message("other", OpenMode::create), HasSubstr("holds notes.txt"));
  EXPECT_THAT(message("other", OpenMode::existing), HasSubstr("is not a store"));
  EXPECT_THAT(message("missing", OpenMode::existing), HasSubstr("there is no store"));
  EXPECT_THAT(message("file/below", OpenMode::create), HasSubstr("cannot use"));
  EXPECT_FALSE(std::filesystem::exists(directory_.path() / "other" / "LOCK"));
  EXPECT_FALSE(std::filesystem::exists(directory_.path() / "missing"));
}

TEST_F(ArtifactStoreTest, MakesAStoreInAnEmptyDirectoryAndAfterAnInterruptedTry) {
  std::filesystem::create_directories(path());
  { open(); }
  std::filesystem::remove(path() / "HEAD");
  EXPECT_EQ(error_of([&] { open(); }).code(), ErrorCode::corrupt) << "a lost HEAD is damage";
  std::ofstream(path() / "CREATING") << "";
  EXPECT_EQ(open().commit_number(), 1u);
  EXPECT_FALSE(std::filesystem::exists(path() / "CREATING"));
  // A marker that outlived the making of the store must not make a store that lost its HEAD look new.
  std::ofstream(path() / "CREATING") << "";
  { open().commit(Commit().put_result("k", text_bytes("v"))); }
  std::filesystem::remove(path() / "HEAD");
  EXPECT_EQ(error_of([&] { open(); }).code(), ErrorCode::corrupt);
}

}  // namespace
}  // namespace quench::coordinator
