// Which journals are a job's that was given up: only those, and only when nothing of them is published or at work.
#include <gtest/gtest.h>

#include "coordinator/records.h"
#include "coordinator/repository/collection.h"
#include "schemas/codec.h"
#include "tests/coordinator/store/store_fixture.h"

namespace quench::coordinator {
namespace {

constexpr std::uint64_t kDay = 24ull * 3600 * 1000;

JobOpinion::Fate fate(const std::string& id, const std::vector<quench::JournalEvent>& events, std::uint64_t now_ms,
                      std::optional<std::uint64_t> abandon_ms = 30 * kDay) {
  std::vector<JournalEvent> records;
  for (const quench::JournalEvent& event : events) records.push_back({records.size(), encode(event), {}});
  return collect_options({false, 0, abandon_ms}, now_ms).job(id, records).fate;
}

quench::JournalEvent accepted() {
  JobAccepted event;
  event.job.name = "j";
  event.source = sha256("source");
  return event;
}
quench::JournalEvent block(double seconds) {
  BlockWritten written;
  written.seconds = seconds;
  return written;
}

TEST(Collection, OnlyJobsAreGivenUpAndOnlyIdleOnes) {
  const std::string job = journal_name(sha256("job"));
  const quench::JournalEvent started = AttemptStarted{1, 1, 0};
  using Fate = JobOpinion::Fate;
  EXPECT_EQ(fate(job, {accepted(), started}, 29 * kDay), Fate::keep);
  EXPECT_EQ(fate(job, {accepted(), started}, 31 * kDay), Fate::forget);
  EXPECT_EQ(fate(job, {accepted(), started}, 31 * kDay, std::nullopt), Fate::keep) << "only where asked for";
  EXPECT_EQ(fate("service", {started}, 31 * kDay), Fate::keep) << "the journal of something else";
  EXPECT_EQ(fate(job, {accepted(), started, block(20 * 86400.0), block(5 * 86400.0)}, 31 * kDay), Fate::keep)
      << "its last block ended six days ago";
  EXPECT_EQ(fate(job, {accepted(), started, ArtifactPublished{0, sha256("a"), 1}}, 31 * kDay), Fate::keep)
      << "it may be resumed for the rest";
  EXPECT_EQ(fate(job, {accepted(), started, ArtifactPublished{0, sha256("a"), 1}, JobFinished{}}, 0), Fate::release);
}

TEST(Collection, RetentionKeepsTheNewestOfAPattern) {
  const TemporaryDirectory home(fast_directory());
  ArtifactStore store = ArtifactStore::open(home.path() / "store", OpenMode::create);
  const Bytes object = text_bytes("object");
  store.commit(Commit().put_object(sha256(object), object).set_ref("lab/n-0", sha256(object), 0).set_ref("other", sha256(object), 0));
  for (std::uint64_t day = 1; day < 6; ++day) store.commit(Commit().set_ref("lab/n-" + std::to_string(day), sha256(object), day * kDay));
  const auto ending = [&](const RetentionRule& rule, std::uint64_t now_ms) { return names_to_end(store, {rule}, now_ms); };
  using Names = std::vector<std::string>;
  EXPECT_EQ(ending({"lab/n-*", 4, std::nullopt}, 6 * kDay), (Names{"lab/n-0", "lab/n-1"}));
  EXPECT_EQ(ending({"lab/n-*", std::nullopt, 3}, 6 * kDay), (Names{"lab/n-0", "lab/n-1", "lab/n-2", "lab/n-3"}));
  EXPECT_EQ(ending({"lab/n-*", std::nullopt, 1}, 900 * kDay).size(), 5u) << "the newest stays, however old";
  EXPECT_EQ(ending({"nothing*", 1, 1}, 900 * kDay), Names{});
}

TEST(Collection, PatternsFitWholeNames) {
  EXPECT_TRUE(fits_pattern("org/model:v1", "org/*:v1"));
  EXPECT_TRUE(fits_pattern("org/model:v1", "*"));
  EXPECT_TRUE(fits_pattern("aXbXc", "a*X*c"));
  EXPECT_FALSE(fits_pattern("org/model:v1", "org/model"));
  EXPECT_FALSE(fits_pattern("org/model", "org/model:*"));
  EXPECT_FALSE(fits_pattern("aab", "a*c"));
}

}  // namespace
}  // namespace quench::coordinator
