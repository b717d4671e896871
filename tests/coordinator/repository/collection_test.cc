// Which journals are a job's that was given up: only those, and only when nothing of them is published or at work.
#include <gtest/gtest.h>

#include "coordinator/records.h"
#include "coordinator/repository/collection.h"
#include "schemas/codec.h"
#include "tests/coordinator/store/store_fixture.h"

namespace quench::coordinator {
namespace {

constexpr std::uint64_t kDay = 24ull * 3600 * 1000;

std::vector<JournalEvent> records_of(const std::vector<quench::JournalEvent>& events) {
  std::vector<JournalEvent> records;
  for (const quench::JournalEvent& event : events) records.push_back({records.size(), encode(event), {}});
  return records;
}

// `service`: what the service's journal says.
JobOpinion opinion(const std::string& id, const std::vector<quench::JournalEvent>& events, std::uint64_t now_ms,
                   const CollectionChoice& choice, const std::vector<quench::JournalEvent>& service = {}) {
  return collect_options(choice, now_ms).judge([&](std::string_view) { return records_of(service); })(id, records_of(events));
}

JobOpinion::Fate fate(const std::string& id, const std::vector<quench::JournalEvent>& events, std::uint64_t now_ms,
                      std::optional<std::uint64_t> abandon_ms = 30 * kDay) {
  return opinion(id, events, now_ms, {false, 0, abandon_ms}).fate;
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
  EXPECT_EQ(opinion(job, {accepted(), started, ArtifactPublished{0, sha256("a"), 1}}, 29 * kDay, {false, 0, 30 * kDay}).objects,
            std::vector{sha256("a")})
      << "it may be resumed for the rest";
  EXPECT_EQ(fate(job, {accepted(), started, ArtifactPublished{0, sha256("a"), 1}, JobFinished{}}, 0), Fate::release);
}

// --- Jobs of the service --------------------------------------------------------------------------------

constexpr std::int64_t kSubmitted = 1000, kStarted = 2000, kEnded = 5000;
constexpr std::uint64_t kGrace = 7 * kDay;

quench::JournalEvent submitted(std::uint64_t number) {
  JobMoved moved;
  moved.number = number;
  moved.by = "alice";
  moved.unix_ms = kSubmitted;
  moved.job = std::get<JobAccepted>(accepted()).job;
  return moved;
}
quench::JournalEvent went(std::uint64_t number, JobState to, std::int64_t unix_ms, bool identified = true) {
  JobMoved moved;
  moved.number = number;
  moved.to = to;
  moved.unix_ms = unix_ms;
  const JobAccepted job = std::get<JobAccepted>(accepted());
  if (identified) moved.job_id = job_id(job.job, job.source);
  return moved;
}

class CollectionOfTheService : public ::testing::Test {
 protected:
  JobOpinion::Fate after(const std::vector<quench::JournalEvent>& service, std::uint64_t now_ms = kEnded + kGrace) const {
    return opinion(id_, events_, now_ms, {false, kGrace, std::nullopt}, service).fate;
  }
  const JobAccepted job_ = std::get<JobAccepted>(accepted());
  const std::string id_ = journal_name(job_id(job_.job, job_.source));
  const std::vector<quench::JournalEvent> events_ = {accepted(), AttemptStarted{1, 1, kStarted}, block(1)};
  using Fate = JobOpinion::Fate;
};

TEST_F(CollectionOfTheService, CancelledAndFailedJobsAreGivenUpAfterTheGracePeriod) {
  for (const JobState state : {JobState::cancelled, JobState::failed}) {
    const std::vector<quench::JournalEvent> service = {submitted(1), went(1, JobState::running, kStarted), went(1, state, kEnded)};
    EXPECT_EQ(after(service), Fate::forget) << to_string(state);
    EXPECT_EQ(after(service, kEnded + kGrace - 1), Fate::keep) << to_string(state);
  }
  EXPECT_EQ(after({}), Fate::keep) << "of `quench run`, without --abandon";
}

TEST_F(CollectionOfTheService, JobsThatWaitOrAreAtWorkAreNeverGivenUp) {
  const std::vector<quench::JournalEvent> cancelled = {submitted(1), went(1, JobState::running, kStarted), went(1, JobState::cancelled, kEnded)};
  const auto and_then = [&](std::vector<quench::JournalEvent> more) {
    more.insert(more.begin(), cancelled.begin(), cancelled.end());
    return more;
  };
  for (const JobState state : {JobState::queued, JobState::running, JobState::cancelling}) {
    EXPECT_EQ(after(and_then({went(1, state, kEnded + 1)}), 900 * kDay), Fate::keep) << "tried again, " << to_string(state);
    EXPECT_EQ(opinion(id_, events_, 900 * kDay, {false, 0, 2 * kDay}, and_then({went(1, state, kEnded + 1)})).fate, Fate::keep)
        << "--abandon, " << to_string(state);
  }
  // The same work submitted anew, whose model nobody has read yet, and another job that is none of ours.
  EXPECT_EQ(after(and_then({submitted(2)}), 900 * kDay), Fate::keep);
  quench::JournalEvent other = submitted(2);
  std::get<JobMoved>(other).job->name = "other";
  EXPECT_EQ(after(and_then({other}), 900 * kDay), Fate::forget);
  EXPECT_EQ(after(and_then({submitted(2), went(2, JobState::cancelled, kEnded + 1, false)}), 900 * kDay), Fate::forget);
  // Two of one id: the later end counts.
  EXPECT_EQ(after(and_then({submitted(2), went(2, JobState::running, kEnded), went(2, JobState::failed, kEnded + 10)})), Fate::keep);
}

TEST_F(CollectionOfTheService, WhatRunTookUpSinceIsNotTheServicesToGiveUp) {
  const std::vector<quench::JournalEvent> service = {submitted(1), went(1, JobState::running, kStarted), went(1, JobState::cancelled, kEnded)};
  std::vector<quench::JournalEvent> events = events_;
  events.push_back(AttemptStarted{2, 1, kEnded + 1});
  EXPECT_EQ(opinion(id_, events, 900 * kDay, {false, 0, std::nullopt}, service).fate, Fate::keep);
}

TEST_F(CollectionOfTheService, WhatTellsOfPublishedArtifactsIsLeft) {
  const quench::JournalEvent published = ArtifactPublished{0, sha256("a"), 1};
  OuterCommitted outer;
  BlockWritten unpublished;
  unpublished.artifact = outer.artifact = 1;
  std::vector<quench::JournalEvent> events = events_;
  const std::size_t told = events.size() + 1;
  for (const quench::JournalEvent& event : {published, quench::JournalEvent(outer), quench::JournalEvent(unpublished)}) events.push_back(event);
  const JobOpinion found = opinion(id_, events, kEnded + kGrace, {false, kGrace, std::nullopt},
                                   {submitted(1), went(1, JobState::running, kStarted), went(1, JobState::cancelled, kEnded)});
  EXPECT_EQ(found.fate, Fate::forget);
  EXPECT_TRUE(found.objects.empty()) << "its names keep it";
  ASSERT_EQ(found.left.size(), told);
  EXPECT_EQ(decode_journal_event(found.left.back().bytes), published);
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
