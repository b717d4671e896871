#include "coordinator/queue/queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "schemas/codec.h"

namespace quench::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Kind = QueueRefusal::Kind;

class FakeOutbox final : public QueueOutbox {
 public:
  void record(const JobMoved& moved) override {
    if (disk_full) throw Error(ErrorCode::failed, "no space left");
    // As it would be read again.
    journal.push_back(std::get<JobMoved>(decode_journal_event(encode(quench::JournalEvent(moved)))));
  }
  void start(const QueuedJob& job) override { started.push_back(job.number); }
  void stop(JobNumber number, const std::string& reason) override { stopped.emplace_back(number, reason); }

  bool disk_full = false;
  std::vector<JobMoved> journal;
  std::vector<JobNumber> started;
  std::vector<std::pair<JobNumber, std::string>> stopped;
};

const QueueCaller kAlice{"alice", false}, kBob{"bob", false}, kRoot{"root", true};

class Queue : public testing::Test {
 protected:
  Queue() { state.limits.slots = 8; }

  JobNumber submit(std::uint32_t ranks, const QueueCaller& caller = kAlice, std::int32_t priority = 0,
                   const std::vector<JobNumber>& after = {}) {
    JobSpec job;
    job.name = "job";
    job.model = "/models/m";
    job.ranks = ranks;
    return submit_job(state, outbox, job, priority, caller, now, {}, after);
  }
  void start() { start_jobs(state, outbox, now); }
  void end(JobNumber number, const JobEnding& ending) { on_job_ended(state, outbox, number, ending, now); }
  JobState state_of(JobNumber number) const { return queued_job(state, number).state; }
  std::string why(JobNumber number) const { return why_waiting(state, survey(state, now), number); }
  template <typename Body>
  Kind refusal_of(Body body) {
    try {
      body();
    } catch (const QueueRefusal& refusal) {
      return refusal.kind();
    }
    ADD_FAILURE() << "it was not refused";
    return Kind::full;
  }
  // What a service that is started now would know.
  QueueState replayed() const {
    QueueState other;
    other.limits = state.limits;
    for (const JobMoved& moved : outbox.journal) apply(other, moved);
    return other;
  }

  QueueState state;
  FakeOutbox outbox;
  std::int64_t now = 1'000'000'000;
};

const JobEnding kDone{true, {}, {}};
const JobEnding kFailed{false, ErrorCode::failed, "rank 1 was killed"};
const JobEnding kInterrupted{false, ErrorCode::interrupted, "stopped"};

TEST_F(Queue, StartsWhatFitsAndTellsWhyTheOthersWait) {
  const JobNumber first = submit(4), second = submit(3), third = submit(4);
  start();
  EXPECT_THAT(outbox.started, ElementsAre(first, second));
  EXPECT_EQ(state_of(third), JobState::queued);
  EXPECT_EQ(why(third), "it asks for 4 ranks and 1 of 8 are free");
  end(first, kDone);
  start();
  EXPECT_THAT(outbox.started, ElementsAre(first, second, third));
  EXPECT_EQ(state_of(first), JobState::done);
}

TEST_F(Queue, AJobThatCanNeverRunIsNotTaken) {
  EXPECT_EQ(refusal_of([&] { submit(9); }), Kind::too_large);
  EXPECT_THAT(outbox.journal, IsEmpty());
}

TEST_F(Queue, PriorityGoesFirstThenWhoUsedLess) {
  const JobNumber running = submit(8, kAlice);
  start();
  const JobNumber alices = submit(8, kAlice), bobs = submit(8, kBob), urgent = submit(8, kAlice, 5);
  EXPECT_THAT(survey(state, now).order, ElementsAre(urgent, bobs, alices));
  EXPECT_EQ(why(alices), "it asks for 8 ranks and 0 of 8 are free; 2 jobs go first, job " + std::to_string(bobs) +
                             " among them (bob has used less lately than alice)");
  EXPECT_THAT(why(bobs), HasSubstr("its priority is 5, this one's 0"));
  now += 60'000;
  end(running, kDone);
  EXPECT_THAT(survey(state, now).order, ElementsAre(urgent, bobs, alices));
}

TEST_F(Queue, UsageIsForgottenByHalfADay) {
  const JobNumber heavy = submit(8, kAlice);
  start();
  now += 3'600'000;
  end(heavy, kDone);
  EXPECT_DOUBLE_EQ(state.usage.at("alice").rank_seconds, 8 * 3600);
  now += 24 * 3'600'000;
  const JobNumber light = submit(8, kAlice);
  start();
  now += 1000;
  end(light, kDone);
  EXPECT_NEAR(state.usage.at("alice").rank_seconds, 4 * 3600 + 8, 1);
}

TEST_F(Queue, SmallJobsOvertakeALargeOneOnlyForAWhile) {
  state.limits.keep_order_ms = 10'000;
  const JobNumber running = submit(5);
  start();
  const JobNumber large = submit(8), small = submit(2);
  start();
  EXPECT_EQ(state_of(small), JobState::running);
  now += 10'000;
  const JobNumber late = submit(1);
  start();
  EXPECT_EQ(state_of(late), JobState::queued);
  EXPECT_THAT(why(late), HasSubstr("job " + std::to_string(large) + " has waited so long that nothing overtakes it"));
  end(running, kDone);
  end(small, kDone);
  start();
  EXPECT_EQ(state_of(large), JobState::running);
  EXPECT_EQ(state_of(late), JobState::queued);
}

TEST_F(Queue, NoMoreGangsThanAllowed) {
  state.limits.gangs_max = 2;
  submit(1), submit(1);
  const JobNumber third = submit(1);
  start();
  EXPECT_EQ(outbox.started.size(), 2u);
  EXPECT_EQ(why(third), "2 jobs are at work, as many as may be");
}

TEST_F(Queue, BytesOfAUserAreWhatIsStoredAndWhatIsPlanned) {
  state.limits.bytes_per_user_max = 10'000'000;
  JobSpec job;
  job.name = "job";
  job.model = "/models/m";
  const JobNumber first = submit_job(state, outbox, job, 0, kAlice, now, {4'000'000, 5'000'000});
  EXPECT_EQ(planned_bytes(state, "alice"), 4'000'000u);
  try {
    submit_job(state, outbox, job, 0, kAlice, now, {2'000'000, 5'000'000});
    ADD_FAILURE() << "11 of 10 MB";
  } catch (const QueueRefusal& refusal) {
    EXPECT_EQ(refusal.kind(), Kind::quota);
    EXPECT_THAT(refusal.what(), HasSubstr("alice has artifacts of 5000 kB in the store and 4000 kB more planned"));
    EXPECT_THAT(refusal.what(), HasSubstr("2000 kB do not fit into the 10 MB"));
  }
  submit_job(state, outbox, job, 0, kBob, now, {9'000'000, 0});
  submit_job(state, outbox, job, 0, kAlice, now, {1'000'000, 5'000'000});
  cancel_job(state, outbox, first, "", kAlice, now);
  EXPECT_EQ(planned_bytes(state, "alice"), 1'000'000u) << "a cancelled job publishes nothing";
  EXPECT_NO_THROW(check_bytes(limit_of(state, "alice"), 5'000'000, 4'000'000));
}

TEST_F(Queue, BoundsOfQueueAndUser) {
  state.limits.jobs_per_user_max = 2;
  state.limits.queued_max = 3;
  submit(8), submit(8);
  EXPECT_EQ(refusal_of([&] { submit(8); }), Kind::quota);
  submit(8, kBob);
  EXPECT_EQ(refusal_of([&] { submit(8, kBob); }), Kind::full);
  start();
  submit(8, kBob);  // one has left the queue
  EXPECT_EQ(refusal_of([&] { submit(8); }), Kind::full);
}

TEST_F(Queue, AWaitingJobIsCancelledAtOnce) {
  submit(8);
  start();
  const JobNumber waiting = submit(8);
  cancel_job(state, outbox, waiting, "wrong model", kAlice, now);
  EXPECT_EQ(state_of(waiting), JobState::cancelled);
  EXPECT_EQ(queued_job(state, waiting).reason, "wrong model");
  EXPECT_THAT(outbox.stopped, IsEmpty());
  EXPECT_EQ(refusal_of([&] { cancel_job(state, outbox, waiting, "", kAlice, now); }), Kind::wrong_state);
}

TEST_F(Queue, AJobAtWorkIsStoppedBeforeItIsCancelled) {
  const JobNumber job = submit(8);
  start();
  cancel_job(state, outbox, job, "", kAlice, now);
  cancel_job(state, outbox, job, "again", kAlice, now);
  EXPECT_EQ(state_of(job), JobState::cancelling);
  ASSERT_EQ(outbox.stopped.size(), 1u);
  EXPECT_EQ(outbox.stopped[0].second, "cancelled: cancelled by alice");
  EXPECT_EQ(survey(state, now).slots_used, 8u) << "its processes are still there";
  end(job, kInterrupted);
  EXPECT_EQ(state_of(job), JobState::cancelled);
  EXPECT_EQ(queued_job(state, job).reason, "cancelled by alice");
}

TEST_F(Queue, AJobMayBeFasterThanItsCancellation) {
  const JobNumber job = submit(8);
  start();
  cancel_job(state, outbox, job, "", kAlice, now);
  end(job, kDone);
  EXPECT_EQ(state_of(job), JobState::done);
}

TEST_F(Queue, OnlyOwnersAndAdministratorsChangeAJob) {
  const JobNumber job = submit(8);
  start();
  EXPECT_EQ(refusal_of([&] { cancel_job(state, outbox, job, "", kBob, now); }), Kind::not_yours);
  cancel_job(state, outbox, job, "", kRoot, now);
  end(job, kInterrupted);
  EXPECT_EQ(refusal_of([&] { retry_job(state, outbox, job, kBob, now); }), Kind::not_yours);
  EXPECT_EQ(refusal_of([&] { cancel_job(state, outbox, 99, "", kRoot, now); }), Kind::no_such_job);
}

TEST_F(Queue, AFailedJobIsTriedAgainUnderItsNumber) {
  const JobNumber job = submit(8);
  start();
  EXPECT_EQ(refusal_of([&] { retry_job(state, outbox, job, kAlice, now); }), Kind::wrong_state);
  end(job, kFailed);
  EXPECT_EQ(queued_job(state, job).error_code, "failed");
  EXPECT_EQ(queued_job(state, job).reason, "rank 1 was killed");
  retry_job(state, outbox, job, kAlice, now);
  start();
  EXPECT_THAT(outbox.started, ElementsAre(job, job));
  EXPECT_EQ(queued_job(state, job).starts, 2u);
  EXPECT_EQ(queued_job(state, job).error_code, "");
}

TEST_F(Queue, TheSameWorkIsNotDoneTwiceAtOnce) {
  const JobNumber first = submit(2), second = submit(2);
  start();
  EXPECT_TRUE(on_job_identified(state, outbox, first, sha256("work"), now));
  EXPECT_FALSE(on_job_identified(state, outbox, second, sha256("work"), now));
  start();
  EXPECT_EQ(state_of(second), JobState::queued);
  EXPECT_EQ(why(second), "job " + std::to_string(first) + " does the same work now");
  end(first, kDone);
  start();
  EXPECT_EQ(state_of(second), JobState::running);
  EXPECT_TRUE(on_job_identified(state, outbox, second, sha256("work"), now));
}

TEST_F(Queue, AJobWaitsUntilThoseBeforeItAreDone) {
  const JobNumber first = submit(8), second = submit(1);
  const JobNumber after = submit(1, kBob, 9, {first, second});
  const JobNumber free = submit(1);
  start();
  end(first, kDone);
  EXPECT_EQ(why(after), "it comes after job " + std::to_string(second) + " (queued)");
  EXPECT_EQ(survey(state, now).order.back(), after) << "its priority does not help what cannot start";
  now += state.limits.keep_order_ms;
  start();
  EXPECT_THAT(outbox.started, ElementsAre(first, second, free));
  EXPECT_EQ(why(after), "it comes after job " + std::to_string(second) + " (running)");
  EXPECT_EQ(queued_job(replayed(), after).after, (std::vector<JobNumber>{first, second}));
  // It waits for room from now on only, so that it does not hold up others at once.
  const JobNumber large = submit(7, kRoot, 10);
  end(second, kDone);
  start();
  EXPECT_EQ(state_of(large), JobState::running);
  EXPECT_EQ(survey(state, now).kept_by, std::nullopt);
  end(free, kDone);
  start();
  EXPECT_EQ(state_of(after), JobState::running);
}

TEST_F(Queue, AJobFailsWithTheOneBeforeItAndIsTriedAgainAfterIt) {
  const JobNumber first = submit(1);
  const JobNumber second = submit(1, kAlice, 0, {first}), third = submit(1, kBob, 0, {second});
  EXPECT_EQ(refusal_of([&] { submit(1, kAlice, 0, {99}); }), Kind::no_such_job);
  start();
  end(first, kFailed);
  QueueState next = replayed();  // the service died before it had failed the others
  start();
  start_jobs(next, outbox, now);
  for (const QueueState* one : std::initializer_list<const QueueState*>{&state, &next}) {
    EXPECT_EQ(queued_job(*one, second).reason, "job 1, which it comes after, failed (rank 1 was killed): try that one again first, then this one");
    EXPECT_EQ(queued_job(*one, third).state, JobState::failed);
    EXPECT_EQ(queued_job(*one, third).error_code, "failed");
  }
  EXPECT_EQ(refusal_of([&] { submit(1, kAlice, 0, {third}); }), Kind::wrong_state);
  EXPECT_EQ(refusal_of([&] { retry_job(state, outbox, second, kAlice, now); }), Kind::wrong_state);
  retry_job(state, outbox, first, kAlice, now);
  retry_job(state, outbox, second, kAlice, now);
  start();
  cancel_job(state, outbox, second, "not wanted", kAlice, now);
  retry_job(state, outbox, second, kAlice, now);
  end(first, kDone);
  start();
  EXPECT_EQ(state_of(second), JobState::running);
  cancel_job(state, outbox, second, "not wanted", kAlice, now);
  end(second, kInterrupted);
  EXPECT_EQ(refusal_of([&] { retry_job(state, outbox, third, kBob, now); }), Kind::wrong_state);
}

TEST_F(Queue, AStoppingServiceLeavesWhatRunsForTheNextOne) {
  const JobNumber job = submit(8), waiting = submit(1);
  start();
  on_service_stopping(state, outbox, "the service stops");
  EXPECT_EQ(outbox.stopped, (std::vector<std::pair<JobNumber, std::string>>{{job, "the service stops"}}));
  end(job, kInterrupted);
  start();
  EXPECT_EQ(state_of(waiting), JobState::queued);
  EXPECT_EQ(refusal_of([&] { submit(1); }), Kind::stopping);

  QueueState next = replayed();
  EXPECT_EQ(next.jobs.at(job).state, JobState::running);
  on_service_started(next, outbox, now);
  EXPECT_EQ(survey(next, now).order.front(), job) << "it was at work and goes on first";
  start_jobs(next, outbox, now);
  EXPECT_EQ(next.jobs.at(job).state, JobState::running);
}

TEST_F(Queue, WhatWasBeingCancelledIsCancelledAfterARestart) {
  const JobNumber job = submit(8);
  start();
  cancel_job(state, outbox, job, "mistake", kAlice, now);
  QueueState next = replayed();
  on_service_started(next, outbox, now);
  EXPECT_EQ(next.jobs.at(job).state, JobState::cancelled);
  EXPECT_EQ(next.jobs.at(job).reason, "mistake");
}

TEST_F(Queue, NothingChangesThatCannotBeRecorded) {
  const JobNumber job = submit(8);
  outbox.disk_full = true;
  EXPECT_THROW(start(), Error);
  EXPECT_EQ(state_of(job), JobState::queued);
  EXPECT_THAT(outbox.started, IsEmpty());
  EXPECT_THROW(submit(1), Error);
  EXPECT_EQ(state.jobs.size(), 1u);
  state.store_fault = "no space left";
  start();  // it is not even tried
  EXPECT_EQ(why(job), "the store takes no writes: no space left");
}

TEST_F(Queue, AShrunkServiceTellsWhatDoesNotFitAnyMore) {
  const JobNumber job = submit(8);
  state.limits.slots = 4;
  const JobNumber small = submit(4);
  start();
  EXPECT_EQ(state_of(small), JobState::running);
  EXPECT_THAT(why(job), HasSubstr("the service has only 4 since it was started again"));
}

// Random histories: the journal alone gives the same queue, slots are never exceeded, and every job ends.
TEST_F(Queue, RandomHistoriesReplayToTheSameQueue) {
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    state = {};
    state.limits = {8, 3, 20, 12, 5'000};
    outbox = {};
    std::mt19937 random(seed);
    const auto below = [&](std::uint32_t bound) { return static_cast<std::uint32_t>(random() % bound); };
    const auto pick = [&](auto wanted) -> std::optional<JobNumber> {
      std::vector<JobNumber> found;
      for (const auto& [number, job] : state.jobs)
        if (wanted(job.state)) found.push_back(number);
      if (found.empty()) return std::nullopt;
      return found[below(static_cast<std::uint32_t>(found.size()))];
    };
    const auto at_work = [](JobState one) { return one == JobState::running || one == JobState::cancelling; };
    for (int step = 0; step < 120; ++step) {
      now += below(2'000);
      const QueueCaller& caller = below(2) == 0 ? kAlice : kBob;
      try {
        switch (below(6)) {
          case 0:
          case 1: {
            std::vector<JobNumber> after;
            if (const auto job = pick([](JobState) { return true; }); job && below(3) == 0) after.push_back(*job);
            submit(1 + below(9), caller, static_cast<std::int32_t>(below(3)), after);
            break;
          }
          case 2:
            if (const auto job = pick([](JobState) { return true; })) cancel_job(state, outbox, *job, "", caller, now);
            break;
          case 3:
            if (const auto job = pick([](JobState) { return true; })) retry_job(state, outbox, *job, caller, now);
            break;
          case 4:
            if (const auto job = pick(at_work)) end(*job, below(2) == 0 ? kDone : kFailed);
            break;
          case 5:
            if (const auto job = pick(at_work))
              on_job_identified(state, outbox, *job, sha256(std::to_string(below(3))), now);
            break;
        }
      } catch (const QueueRefusal&) {
      }
      start();
      const QueueSurvey queue = survey(state, now);
      ASSERT_LE(queue.slots_used, 8u);
      ASSERT_LE(queue.gangs, 3u);
      for (const auto& [number, job] : state.jobs)
        for (const JobNumber before : job.after)
          ASSERT_TRUE(state_of(before) == JobState::done || !at_work(job.state)) << number << " is at work before " << before;
      for (const JobNumber number : queue.order) ASSERT_FALSE(why(number).empty());
    }
    const QueueState again = replayed();
    ASSERT_EQ(again.jobs.size(), state.jobs.size());
    EXPECT_EQ(again.next_number, state.next_number);
    for (const auto& [number, job] : state.jobs) {
      const QueuedJob& other = again.jobs.at(number);
      EXPECT_EQ(other.state, job.state);
      EXPECT_EQ(other.reason, job.reason);
      EXPECT_EQ(other.starts, job.starts);
      EXPECT_EQ(other.user, job.user);
      EXPECT_EQ(other.job, job.job);
      EXPECT_EQ(other.queued_ms, job.queued_ms);
      EXPECT_EQ(other.after, job.after);
    }
    for (const auto& [user, usage] : state.usage) EXPECT_DOUBLE_EQ(again.usage.at(user).rank_seconds, usage.rank_seconds);
    for (int rounds = 0; rounds < 200; ++rounds) {
      const auto job = pick(at_work);
      if (!job) break;
      end(*job, kDone);
      start();
    }
    EXPECT_THAT(survey(state, now).order, IsEmpty()) << "a job waits for ever";
  }
}

}  // namespace
}  // namespace quench::coordinator
