// What the collector takes and what it never takes, alone and beside publishes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <thread>

#include "coordinator/store/database.h"
#include "tests/coordinator/store/store_fixture.h"

namespace quench::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr std::uint64_t kDay = 24ull * 3600 * 1000;

class CollectorTest : public ::testing::Test {
 protected:
  CollectorTest() { open(); }
  void open() {
    store_.reset();
    store_.emplace(ArtifactStore::open(directory_.path() / "store", OpenMode::create));
  }
  // An object with chunks of these seeds, under `name` unless that is empty.
  Digest publish(const std::string& text, const std::vector<int>& seeds, const std::string& name, std::uint64_t time_ms = 0) {
    std::vector<Digest> chunks;
    for (const int seed : seeds) chunks.push_back(store_->put_chunk(chunk(seed)));
    Commit commit;
    commit.put_object(sha256(text), text_bytes(text), chunks);
    if (!name.empty()) commit.set_ref(name, sha256(text), time_ms);
    store_->commit(commit);
    return sha256(text);
  }
  static Bytes chunk(int seed) { return seeded_bytes(static_cast<std::uint64_t>(seed), 20'000 + static_cast<std::size_t>(seed)); }
  bool has(int seed) const { return store_->has_chunk(sha256(chunk(seed))); }
  CollectOptions at(std::uint64_t now_ms) const {
    CollectOptions options;
    options.now_ms = now_ms;
    options.name_grace_ms = 7 * kDay;
    return options;
  }
  void expect_verified() const {
    const VerifyReport report = store_->verify();
    EXPECT_EQ(report.exit_status(), 0) << ::testing::PrintToString(report.findings);
  }
  TemporaryDirectory directory_{fast_directory()};
  std::optional<ArtifactStore> store_;
};

TEST_F(CollectorTest, TakesTheChunksThatOnlyDeadObjectsHave) {
  const Digest kept = publish("kept", {1, 2}, "kept"), dead = publish("dead", {2, 3}, "dead");
  store_->commit(Commit().delete_ref("dead", 0).put_result("run/" + dead.hex() + "/j", text_bytes("fast")));
  CollectOptions options = at(8 * kDay);
  options.dry_run = true;
  const CollectReport would = store_->collect(options);
  EXPECT_THAT(would.objects, ElementsAre(dead));
  EXPECT_EQ(would.chunks_removed, 1u);
  EXPECT_EQ(would.bytes_removed, chunk(3).size());
  EXPECT_TRUE(has(3)) << "a dry run takes nothing";
  EXPECT_FALSE(store_->get_object(dead).collected_ms);

  options.dry_run = false;
  const CollectReport report = store_->collect(options);
  EXPECT_THAT(report.objects, ElementsAre(dead));
  EXPECT_EQ(report.chunks_removed, 1u);
  EXPECT_EQ(report.bytes_removed, chunk(3).size());
  EXPECT_EQ(report.chunks_kept, 2u);
  EXPECT_TRUE(has(1) && has(2));
  EXPECT_FALSE(has(3));
  EXPECT_EQ(store_->get_object(dead).bytes, text_bytes("dead")) << "the record stays";
  EXPECT_EQ(store_->get_object(dead).collected_ms, 8 * kDay);
  EXPECT_EQ(store_->get_result("run/" + dead.hex() + "/j"), text_bytes("fast"));
  EXPECT_FALSE(store_->get_object(kept).collected_ms);
  expect_verified();
  EXPECT_THAT(store_->collect(options).objects, IsEmpty());
  open();
  EXPECT_FALSE(has(3));
  EXPECT_EQ(store_->stored_bytes(), chunk(1).size() + chunk(2).size());
  expect_verified();
}

TEST_F(CollectorTest, GivesTheSpaceBack) {
  for (int i = 0; i < 40; ++i) publish("object " + std::to_string(i), {1000 * i, 1000 * i + 1}, "name-" + std::to_string(i));
  for (int i = 0; i < 40; i += 2) store_->commit(Commit().delete_ref("name-" + std::to_string(i), 0));
  const CollectReport report = store_->collect(at(8 * kDay));
  EXPECT_EQ(report.chunks_removed, 40u);
  EXPECT_EQ(report.note, "");
  EXPECT_LT(report.file_bytes_after, report.file_bytes_before * 6 / 10);
  for (int i = 1; i < 40; i += 2) EXPECT_EQ(store_->get_chunk(sha256(chunk(1000 * i))), chunk(1000 * i));
  open();
  expect_verified();
}

TEST_F(CollectorTest, NamesAreGraced) {
  const Digest old = publish("old", {1}, "model", 0);
  publish("new", {2}, "model", 10 * kDay);
  publish("gone", {3}, "gone", 0);
  store_->commit(Commit().delete_ref("gone", 10 * kDay));
  EXPECT_THAT(store_->collect(at(16 * kDay)).objects, IsEmpty()) << "changed six days ago";
  EXPECT_THAT(store_->collect(at(18 * kDay)).objects, UnorderedElementsAre(old, sha256("gone")));
  EXPECT_TRUE(has(2));
  const Error error = error_of([&] { store_->commit(Commit().set_ref("again", old, 19 * kDay)); });
  EXPECT_EQ(error.code(), ErrorCode::bad_input);
  EXPECT_THAT(error.what(), HasSubstr("the collector took its chunks"));
}

TEST_F(CollectorTest, WhatIsPutAgainIsBack) {
  const Digest object = publish("object", {1, 2}, "");
  store_->collect(at(0));
  EXPECT_FALSE(has(1));
  EXPECT_EQ(error_of([&] {
              store_->commit(Commit().put_object(object, text_bytes("object"), std::vector{sha256(chunk(1)), sha256(chunk(2))}));
            }).code(),
            ErrorCode::failed)
      << "not without its chunks";
  EXPECT_EQ(publish("object", {1, 2}, "name"), object);
  EXPECT_FALSE(store_->get_object(object).collected_ms);
  EXPECT_THAT(store_->collect(at(0)).objects, IsEmpty());
  EXPECT_TRUE(has(1) && has(2));
  expect_verified();
}

TEST_F(CollectorTest, LinksAndJobsKeepObjectsAlive) {
  const Digest set = publish("set", {1}, ""), model = publish("model", {2}, "model"), of_job = publish("of a job", {3}, "");
  for (const int seed : {4, 5, 6}) {
    const Digest digest = store_->put_chunk(chunk(seed));
    const std::string job = seed == 4 ? "going-on" : seed == 5 ? "over" : "given-up";
    store_->commit(Commit().append_journal(job, text_bytes("block"), std::vector{digest}));
  }
  CollectOptions options = at(0);
  options.links = [&](const StoredObject& object) { return object.digest == model ? std::vector{set} : std::vector<Digest>{}; };
  options.judge = judged_by([&](std::string_view id, const std::vector<JournalEvent>& events) {
    EXPECT_EQ(events.size(), 1u);
    JobOpinion opinion;
    if (id == "going-on") opinion.objects = {of_job};
    if (id == "over") opinion.fate = JobOpinion::Fate::release;
    if (id == "given-up") opinion.fate = JobOpinion::Fate::forget;
    return opinion;
  });
  const CollectReport report = store_->collect(options);
  EXPECT_THAT(report.objects, IsEmpty());
  EXPECT_THAT(report.released_jobs, ElementsAre("over"));
  EXPECT_THAT(report.forgotten_jobs, ElementsAre("given-up"));
  EXPECT_TRUE(has(1) && has(2) && has(3) && has(4));
  EXPECT_FALSE(has(5) || has(6));
  EXPECT_EQ(store_->read_journal("over").size(), 1u);
  EXPECT_THAT(store_->list_jobs(), ElementsAre("going-on", "over"));
  EXPECT_THAT(store_->read_journal("given-up"), IsEmpty());
  expect_verified();
  // A job that was given up begins anew; one that was over may go on, and what it writes from then on counts.
  const Digest more = store_->put_chunk(chunk(7));
  store_->commit(Commit().append_journal("given-up", text_bytes("first")).append_journal("over", text_bytes("more"), std::vector{more}));
  options.judge = judged_by([&](std::string_view, const std::vector<JournalEvent>&) {
    return JobOpinion{JobOpinion::Fate::keep, {of_job}};
  });
  EXPECT_EQ(store_->collect(options).chunks_removed, 0u);
  EXPECT_TRUE(has(7));
  expect_verified();
}

// A job is queued again while the collector marks: its judge is asked again before the journal goes, and sees it.
TEST_F(CollectorTest, AJobThatIsQueuedDuringACollectionIsKept) {
  for (const int seed : {1, 2})
    store_->commit(Commit().append_journal("job-" + std::to_string(seed), text_bytes("block"), std::vector{store_->put_chunk(chunk(seed))}));
  int asked = 0;
  CollectOptions options = at(0);
  options.judge = [&](const ReadJournal& read) -> JobJudge {
    ++asked;
    const std::vector<JournalEvent> queue = read("service");
    return [&, queue](std::string_view id, const std::vector<JournalEvent>&) {
      if (asked == 1) std::thread([&] { store_->commit(Commit().append_journal("service", text_bytes("job-1"))); }).join();
      const bool queued = std::ranges::any_of(queue, [&](const JournalEvent& event) { return as_text(event.bytes) == id; });
      return JobOpinion{queued ? JobOpinion::Fate::keep : JobOpinion::Fate::forget, {}, {}};
    };
  };
  EXPECT_THAT(store_->collect(options).forgotten_jobs, ElementsAre("job-2"));
  EXPECT_EQ(asked, 2);
  EXPECT_TRUE(has(1));
  EXPECT_FALSE(has(2));
  EXPECT_EQ(store_->read_journal("job-1").size(), 1u);
  expect_verified();
}

// Of a job that was given up some events may be left; their chain begins anew and their chunks go.
TEST_F(CollectorTest, AJournalIsShortenedToWhatIsLeft) {
  for (const int seed : {1, 2, 3})
    store_->commit(Commit().append_journal("job", text_bytes("block " + std::to_string(seed)), std::vector{store_->put_chunk(chunk(seed))}));
  CollectOptions options = at(0);
  options.judge = judged_by([](std::string_view, const std::vector<JournalEvent>& events) {
    JobOpinion opinion{JobOpinion::Fate::forget, {}, {}};
    for (const JournalEvent& event : events)
      if (event.bytes != text_bytes("block 2")) opinion.left.push_back(event);
    return opinion;
  });
  EXPECT_EQ(store_->collect(options).chunks_removed, 3u);
  const std::uint64_t commits = store_->commit_number();
  EXPECT_THAT(store_->collect(options).forgotten_jobs, IsEmpty()) << "nothing more to give up";
  EXPECT_EQ(store_->commit_number(), commits);
  open();
  expect_verified();
  const std::vector<JournalEvent> left = store_->read_journal("job");
  ASSERT_EQ(left.size(), 2u);
  EXPECT_EQ(left[1].bytes, text_bytes("block 3"));
  // It goes on, and what it writes from then on counts.
  options.judge = {};
  store_->commit(Commit().append_journal("job", text_bytes("block 2"), std::vector{store_->put_chunk(chunk(2))}));
  EXPECT_EQ(store_->collect(options).chunks_removed, 0u);
  EXPECT_TRUE(has(2));
  expect_verified();
}

TEST_F(CollectorTest, OpenPublishesAreLeftAlone) {
  store_->put_chunk(chunk(1));  // put, and nothing commits it yet
  publish("dead", {2}, "");
  EXPECT_TRUE(store_->claim_chunk(sha256(chunk(2))));  // counted on by a publish that brings no bytes
  EXPECT_FALSE(store_->claim_chunk(sha256(chunk(3))));
  const CollectReport report = store_->collect(at(0));
  EXPECT_EQ(report.chunks_removed, 0u);
  EXPECT_EQ(report.chunks_open, 2u);
  EXPECT_TRUE(has(1) && has(2));
  EXPECT_EQ(publish("late", {1, 2}, "late"), sha256("late"));
  open();  // a publish does not outlive its process
  EXPECT_EQ(store_->collect(at(0)).chunks_removed, 0u);
  store_->put_chunk(chunk(4));
  store_->commit(Commit().append_journal("j", text_bytes("x"), std::vector{sha256(chunk(4))}));
  store_->put_chunk(chunk(5));
  open();
  CollectOptions options = at(0);
  options.judge = judged_by([](std::string_view, const std::vector<JournalEvent>&) {
    return JobOpinion{JobOpinion::Fate::release, {}};
  });
  store_->collect(options);
  EXPECT_FALSE(has(4) || has(5));
}

// Two publishes have a chunk in common; the first is over and its object dead before the second commits.
TEST_F(CollectorTest, AChunkOfTwoPublishesWaitsForBoth) {
  store_->put_chunk(chunk(1));
  EXPECT_TRUE(store_->claim_chunk(sha256(chunk(1))));
  publish("first", {1}, "");
  EXPECT_EQ(store_->collect(at(0)).chunks_removed, 0u);
  store_->commit(Commit().put_object(sha256("second"), text_bytes("second"), std::vector{sha256(chunk(1))}));
  expect_verified();
}

// The collector has read the names and has not said yet what is dead; another thread commits. A race that the test
// below meets by chance only.
TEST_F(CollectorTest, WhatIsCommittedDuringACollectionCounts) {
  const Digest named = publish("named meanwhile", {1}, ""), dead = publish("dead", {2, 3}, "");
  store_->commit(Commit().append_journal("job", text_bytes("block"), std::vector{store_->put_chunk(chunk(4))}));
  int calls = 0;
  CollectOptions options = at(0);
  options.judge = judged_by([&](std::string_view, const std::vector<JournalEvent>&) {
    ++calls;
    std::thread([&] {
      store_->commit(Commit().set_ref("late", named, 0));
      publish("published meanwhile", {3, 5}, "published");
      store_->commit(Commit().append_journal("new-job", text_bytes("block"), std::vector{store_->put_chunk(chunk(6))}));
      store_->commit(Commit().append_journal("job", text_bytes("more"), std::vector{store_->put_chunk(chunk(7))}));
    }).join();
    return JobOpinion{JobOpinion::Fate::forget, {}};
  });
  const CollectReport report = store_->collect(options);
  EXPECT_EQ(calls, 1);
  EXPECT_THAT(report.objects, ElementsAre(dead));
  EXPECT_THAT(report.forgotten_jobs, IsEmpty()) << "it went on";
  for (const int seed : {1, 3, 4, 5, 6, 7}) EXPECT_TRUE(has(seed)) << seed;
  EXPECT_FALSE(has(2));
  expect_verified();
  // The next collection sees all of it by itself.
  options.judge = {};
  EXPECT_EQ(store_->collect(options).chunks_removed, 0u);
  expect_verified();
}

// Publishers whose objects share chunks with dead ones, pulls, taggers, jobs and endless collections side by side.
TEST_F(CollectorTest, NothingReachableIsRemovedBesidePublishes) {
  constexpr int kPublishers = 2;
  const int rounds = all_faults() ? 1000 : 60;
  std::atomic<bool> done = false;
  std::atomic<int> collections = 0;
  std::thread collector([&] {
    CollectOptions options = at(100 * kDay);
    options.name_grace_ms = 0;
    options.rewrite_share = 0.5;
    while (!done) {
      store_->collect(options);
      ++collections;
    }
  });
  std::vector<std::thread> publishers;
  for (int p = 0; p < kPublishers; ++p)
    publishers.emplace_back([&, p] {
      for (int round = 0; round < rounds; ++round) {
        // Chunks come back again and again while their last object dies.
        const std::vector<int> seeds = {round % 7, 100 + round % 3, 1000 * (p + 1) + round};
        const std::string name = "org/p" + std::to_string(p);
        const Digest object = publish("object " + std::to_string(p) + " " + std::to_string(round % 5),
                                      {round % 5, 200 + round % 5, 1000 * (p + 1) + round % 5}, name);
        for (const Digest& digest : store_->get_object(object).chunks) EXPECT_FALSE(store_->get_chunk(digest).empty());
        std::vector<Digest> chunks;
        for (const int seed : seeds) chunks.push_back(store_->put_chunk(chunk(seed)));
        store_->commit(Commit().append_journal("job-" + std::to_string(p), text_bytes("block"), chunks));
        for (const int seed : seeds) EXPECT_EQ(store_->get_chunk(sha256(chunk(seed))), chunk(seed));
        // As a pull does: counts on what is there and brings the rest.
        std::vector<Digest> pulled;
        for (const int seed : {200 + round % 5, 100 + round % 3, 3000 + round % 4}) {
          pulled.push_back(sha256(chunk(seed)));
          if (!store_->claim_chunk(pulled.back())) store_->put_chunk(chunk(seed));
        }
        const std::string text = "pulled " + std::to_string(p) + " " + std::to_string(round % 4 + 4 * (round % 15));
        store_->commit(Commit().put_object(sha256(text), text_bytes(text), pulled).set_ref("org/pulled" + std::to_string(p), sha256(text), 0));
        for (const Digest& digest : pulled) EXPECT_FALSE(store_->get_chunk(digest).empty());
        try {
          store_->commit(Commit().set_ref("org/tag", object, 0));
        } catch (const Error& error) {
          ADD_FAILURE() << error.what();
        }
      }
    });
  for (std::thread& publisher : publishers) publisher.join();
  done = true;
  collector.join();
  EXPECT_GT(collections, 2);
  for (const Ref& ref : store_->list_refs())
    for (const Digest& digest : store_->get_object(ref.object).chunks) EXPECT_FALSE(store_->get_chunk(digest).empty());
  for (const std::string& job : store_->list_jobs())
    for (const JournalEvent& event : store_->read_journal(job))
      for (const Digest& digest : event.chunks) EXPECT_TRUE(store_->has_chunk(digest));
  expect_verified();
  open();
  expect_verified();
}

TEST_F(CollectorTest, ADamagedCatalogIsNotCollected) {
  const Digest object = publish("object", {1}, "name");
  publish("dead", {2}, "");
  store_.reset();
  {
    Database catalog(directory_.path() / "store" / "catalog", DatabaseProfile::records, DatabaseAccess::read_write,
                     {"meta", "objects", "refs", "journal", "results"}, {});
    const std::string key(as_text(object.bytes));
    std::optional<Bytes> value = catalog.get(1, key);
    ASSERT_TRUE(value);
    value->back() ^= 1;
    const Database::Put puts[] = {{1, key, as_text(*value)}};
    catalog.write(puts);
  }
  open();
  EXPECT_EQ(error_of([&] { store_->collect(at(0)); }).code(), ErrorCode::corrupt);
  EXPECT_TRUE(has(1) && has(2));
}

// --- Two who change one name ----------------------------------------------------------------------------

TEST_F(CollectorTest, OfTwoWhoChangeANameOneWinsAndTheOtherIsTold) {
  const Digest base = publish("base", {}, "org/model:best");
  const int rounds = all_faults() ? 500 : 100;
  for (int round = 0; round < rounds; ++round) {
    std::atomic<int> won = 0, told = 0;
    const Digest before = store_->find_ref("org/model:best")->object;
    std::vector<Digest> objects;
    for (int lab = 0; lab < 2; ++lab)
      objects.push_back(publish("of lab " + std::to_string(lab) + " " + std::to_string(round), {}, ""));
    std::vector<std::thread> labs;
    for (int lab = 0; lab < 2; ++lab)
      labs.emplace_back([&, lab] {
        try {
          store_->commit(Commit().expect_ref("org/model:best", before).set_ref("org/model:best", objects[static_cast<std::size_t>(lab)], 0));
          ++won;
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), ErrorCode::bad_input);
          EXPECT_THAT(error.what(), HasSubstr("somebody else changed it meanwhile"));
          ++told;
        }
      });
    for (std::thread& lab : labs) lab.join();
    EXPECT_EQ(won, 1);
    EXPECT_EQ(told, 1);
    EXPECT_NE(store_->find_ref("org/model:best")->object, before);
  }
  EXPECT_EQ(store_->ref_history("org/model:best").size(), 1u + static_cast<unsigned>(rounds));
  EXPECT_EQ(store_->ref_history("org/model:best").front().object, base);
}

}  // namespace
}  // namespace quench::coordinator
