// Evaluation without sockets, disks or clocks: who gets which leases, and that whatever is lost, late or
// said twice, each verdict is kept once.
#include "coordinator/fan_out.h"

#include <gtest/gtest.h>

#include <random>

#include "coordinator/reactor.h"
#include "tests/coordinator/fake_outbox.h"

namespace quench::coordinator {
namespace {

const std::vector<std::string> kTasks = {"T/0", "T/1", "T/2"};

Digest named(const std::string& text) { return sha256(text); }

// A job whose two artifacts are published; the gang is not needed any more.
class FanOut : public ::testing::Test {
 protected:
  FanOut() {
    job.name = "job";
    job.model = "/models/m";
    QuantizeSpec rtn;
    rtn.method = Method::rtn;
    job.quantize = {rtn};
    EvaluateSpec evaluate;
    evaluate.samples = 2;
    job.evaluate = {evaluate};
    job.ranks = 2;
    history = {JobAccepted{job, named("source")}, ArtifactPublished{0, named("none"), 1},
               ArtifactPublished{1, named("rtn"), 1}};
  }
  void start() {
    state = open_job(job, named("id"), named("source"), 2, history);
    on_start(state, outbox);
  }
  // Workers 0 … are ours, by slot; from 100 on they joined by themselves.
  void join(ConnectionId worker, const std::string& host = "here") {
    Hello hello;
    hello.role = PeerRole::evaluator;
    hello.host = host;
    hello.rank = worker < 100 ? RankId{static_cast<std::uint32_t>(worker), job.ranks} : RankId{0, 0};
    on_evaluator_joined(state, outbox, worker, hello);
  }
  void say(ConnectionId worker, const Message& message) {
    on_evaluator_message(state, outbox, worker, decode_message(encode(message)));
  }
  EvaluateOrder order(ConnectionId worker) { return outbox.to<EvaluateOrder>(worker).back(); }
  LeaseGrant grant(ConnectionId worker) { return outbox.to<LeaseGrant>(worker).back(); }
  std::size_t grants(ConnectionId worker) { return outbox.to<LeaseGrant>(worker).size(); }
  void describe(ConnectionId worker, const std::string& problems = "problems") {
    say(worker, BenchmarkInfo{named(problems), kTasks, order(worker).number});
  }
  void ask(ConnectionId worker, std::uint32_t items = 4) {
    say(worker, LeaseRequest{items, order(worker).number, {}, {}});
  }
  static std::vector<Verdict> verdicts_of(const LeaseGrant& grant, const std::string& completion = "") {
    std::vector<Verdict> verdicts;
    for (const LeaseItem& item : grant.items) {
      Verdict& verdict = verdicts.emplace_back();
      verdict.task = item.task;
      verdict.sample = item.sample;
      verdict.result = VerdictResult::passed;
      verdict.completion = completion;
    }
    return verdicts;
  }
  void give(ConnectionId worker, const LeaseGrant& lease, std::uint32_t number,
            const std::string& completion = "") {
    say(worker, VerdictsDone{lease.lease, verdicts_of(lease, completion), number});
  }
  void work_to_the_end(ConnectionId worker) {
    for (int step = 0; step < 100; ++step) {
      if (state.phase != Phase::evaluating) return;
      const std::uint32_t number = order(worker).number;
      if (!state.evaluators.at(worker).described) describe(worker);
      const std::size_t before = grants(worker);
      ask(worker);
      if (grants(worker) == before) return;  // it waits for others
      if (!grant(worker).items.empty()) give(worker, grant(worker), number);
    }
    FAIL() << "no end";
  }
  std::size_t kept(std::uint32_t evaluation) {
    return outbox.verdicts_kept[evaluation_digest(evaluation_key(state, state.evaluations[evaluation]))].size();
  }
  bool told(const std::string& words) {
    return std::any_of(outbox.lines.begin(), outbox.lines.end(),
                       [&](const std::string& line) { return line.find(words) != std::string::npos; });
  }

  JobSpec job;
  std::vector<quench::JournalEvent> history;
  State state;
  FakeOutbox outbox;
};

TEST_F(FanOut, AJobWhoseArtifactsArePublishedNeedsNoGang) {
  start();
  EXPECT_TRUE(outbox.started.empty());
  EXPECT_EQ(outbox.evaluators_started, (std::vector<std::uint32_t>{0, 1}));
  join(0);
  join(1);
  EXPECT_EQ(order(0).artifact, named("none"));
  EXPECT_EQ(order(1).artifact, named("none")) << "nothing is lent yet, so both begin with the first";
  describe(0);
  ask(0);
  EXPECT_EQ(grant(0).items.size(), 3u) << "no more than its share";
  describe(1);
  ask(1);
  EXPECT_EQ(grant(1).items.size(), 2u) << "its share of what is left";
  give(0, grant(0), 0);
  ask(0);
  EXPECT_EQ(grant(0).items.size(), 1u);
  // Nothing is left to lend of the first artifact: worker 1 goes on to the second while 0 still executes.
  give(1, grant(1), 0);
  ask(1);
  EXPECT_TRUE(grant(1).items.empty());
  EXPECT_EQ(order(1).artifact, named("rtn"));
  EXPECT_FALSE(state.evaluations[0].complete);
  give(0, grant(0), 0);
  EXPECT_TRUE(state.evaluations[0].complete);
  ask(0);
  work_to_the_end(1);
  EXPECT_EQ(state.phase, Phase::dismissing);
  EXPECT_EQ(kept(0), 6u);
  EXPECT_EQ(kept(1), 6u);
  EXPECT_EQ(outbox.to<ExitOrder>(0).size(), 1u);
  EXPECT_TRUE(std::holds_alternative<JobFinished>(outbox.journal.back()));
  for (const std::uint32_t slot : {0u, 1u}) {
    on_evaluator_lost(state, outbox, slot, "closed");
    on_evaluator_exited(state, outbox, slot, "exited with code 0");
  }
  EXPECT_TRUE(is_complete(state));
}

TEST_F(FanOut, ALostWorkersLeasesGoToAnotherAndItIsStartedAgain) {
  start();
  join(0);
  join(1);
  describe(0);
  ask(0);
  const LeaseGrant lost = grant(0);
  // It fetches ahead while it executes, and hands in what it executes.
  LeaseRequest request{4, 0, lost.lease, {}};
  for (const LeaseItem& item : lost.items) request.made.push_back({item.task, item.sample, "text " + std::to_string(item.task), 7});
  say(0, request);
  const LeaseGrant ahead = grant(0);
  EXPECT_TRUE(ahead.made.empty());
  ASSERT_EQ(lost.items.size() + ahead.items.size(), 5u);
  describe(1);
  ask(1);
  give(1, grant(1), 0);
  on_evaluator_lost(state, outbox, 0, "reset by peer");
  on_evaluator_exited(state, outbox, 0, "was killed by signal 9");
  EXPECT_EQ(outbox.evaluators_started, (std::vector<std::uint32_t>{0, 1, 0}));
  EXPECT_TRUE(told("the 2 leases of evaluation worker 0 go to others: 5 completions, " + std::to_string(lost.items.size()) +
                   " of them generated already"));
  ask(1);
  EXPECT_EQ(grant(1).items.size(), 4u);
  std::size_t again = 0;
  for (const LeaseItem& item : grant(1).items) again += std::count(lost.items.begin(), lost.items.end(), item);
  EXPECT_EQ(grant(1).made.size(), again) << "what was generated is not generated again";
  for (const MadeText& text : grant(1).made) EXPECT_EQ(text.text, "text " + std::to_string(text.task));
  give(1, grant(1), 0);
  ask(1);
  give(1, grant(1), 0);
  EXPECT_TRUE(state.evaluations[0].complete);
  EXPECT_EQ(kept(0), 6u);
}

TEST_F(FanOut, WorkersJoinAtAnyTimeFromAnywhere) {
  // While the gang quantizes the second artifact, a worker from elsewhere evaluates the first.
  history.pop_back();
  job.ranks = 1;
  start();
  EXPECT_EQ(outbox.started.size(), 1u);
  join(100, "elsewhere");
  EXPECT_TRUE(told("joined from elsewhere"));
  describe(100);
  ask(100, 100);
  give(100, grant(100), 0);
  ask(100);
  EXPECT_EQ(kept(0), 6u);
  EXPECT_TRUE(grant(100).items.empty());
  EXPECT_EQ(outbox.to<EvaluateOrder>(100).size(), 1u) << "the second artifact is not published yet";
  // The gang dies and comes again: that is nothing to the worker.
  on_gang_exited(state, outbox, "rank 0 was killed by signal 9");
  EXPECT_EQ(outbox.started.size(), 2u);
  EXPECT_TRUE(state.evaluators.contains(100));
  EXPECT_EQ(kept(0), 6u);
}

TEST_F(FanOut, AWorkerThatWaitsGetsWhatAnotherLoses) {
  job.quantize.clear();
  job.ranks = 1;
  history.pop_back();
  start();
  join(0);
  join(100);
  describe(0);
  ask(0, 100);
  describe(100);
  ask(100, 100);
  give(100, grant(100), 0);
  ask(100, 100);
  give(100, grant(100), 0);
  ask(100, 100);
  const std::size_t before = grants(100);
  join(101);
  EXPECT_TRUE(outbox.to<EvaluateOrder>(101).empty()) << "there is nothing to do for it yet";
  on_evaluator_lost(state, outbox, 0, "silent");
  ASSERT_EQ(grants(100), before + 1);
  EXPECT_EQ(grant(100).items.size(), 2u) << "its share of the three that were lost";
  describe(101);
  ask(101, 100);
  EXPECT_EQ(grant(101).items.size(), 1u);
}

TEST_F(FanOut, OneRequestAtATime) {
  job.quantize.clear();
  history.pop_back();
  start();
  join(0);
  join(100);
  describe(0);
  describe(100);
  for (int request = 0; request < 5; ++request) ask(0, 2);  // all six items, and then one request that waits
  EXPECT_TRUE(outbox.to<Refused>(0).empty());
  say(0, LeaseRequest{2, 0, {}, {}});
  EXPECT_EQ(outbox.to<Refused>(0).size(), 1u);
  ask(100, 100);
  EXPECT_EQ(grant(100).items.size(), 6u) << "what it held went to the other";
}

TEST_F(FanOut, ALateVerdictIsTakenOnceAndTheFirstStays) {
  start();
  join(0);
  join(1);
  describe(0);
  describe(1);
  ask(0, 100);
  const LeaseGrant slow = grant(0);
  on_tick(state, outbox, kLeaseMsMax - 1);
  say(0, LeaseRenewal{slow.lease, 0});
  on_tick(state, outbox, kLeaseMsMax + 1);
  EXPECT_FALSE(told("deadline")) << "it was renewed";
  on_tick(state, outbox, 3 * kLeaseMsMax);
  EXPECT_TRUE(told("1 leases passed their deadline"));
  ask(1, 100);
  give(1, grant(1), 0, "first");
  const std::size_t kept_before = kept(0);
  // The slow one says the same, then something else: neither replaces what is kept.
  give(0, slow, 0, "first");
  EXPECT_FALSE(told("came twice"));
  give(0, slow, 0, "second");
  EXPECT_TRUE(told("came twice with different completions"));
  EXPECT_GE(kept(0), kept_before);
  for (const auto& [key, verdicts] : outbox.verdicts_kept)
    for (const Verdict& verdict : verdicts) EXPECT_EQ(verdict.completion, "first");
}

TEST_F(FanOut, VerdictsArriveForAnOrderBeforeThePresentOne) {
  job.ranks = 1;
  start();
  join(0);
  describe(0);
  ask(0, 100);
  const LeaseGrant first = grant(0);
  ask(0, 100);
  // While the last lease of the first artifact is executed, the worker is already at the second.
  EXPECT_EQ(order(0).number, 1u);
  describe(0);
  give(0, first, 0);
  EXPECT_TRUE(state.evaluations[0].complete);
  EXPECT_EQ(kept(0), 6u);
}

// A worker reads its orders only once it has no lease to wait for.
TEST_F(FanOut, WhoeverWaitsForALeaseAtTheEndLearnsThatThereIsNone) {
  job.quantize.clear();
  history.pop_back();
  start();
  join(0);
  join(1);
  describe(0);
  ask(0, 100);
  const LeaseGrant last = grant(0);
  work_to_the_end(1);
  ASSERT_GT(state.evaluators.at(1).items_asked, 0u) << "it waits for what the other may lose";
  give(0, last, 0);
  ASSERT_EQ(state.phase, Phase::dismissing);
  EXPECT_TRUE(grant(1).items.empty());
  EXPECT_EQ(outbox.to<ExitOrder>(1).size(), 1u);
  // The one that brought the last verdicts asks once more, and is answered too.
  ask(0, 100);
  EXPECT_TRUE(grant(0).items.empty());
  EXPECT_EQ(outbox.to<ExitOrder>(0).size(), 1u);
}

TEST_F(FanOut, KeptVerdictsAreNotMadeAgain) {
  start();
  join(0);
  describe(0);
  ask(0, 2);
  give(0, grant(0), 0);
  const auto verdicts = outbox.verdicts_kept;
  history = {history[0], history[1], history[2]};
  for (const auto& event : outbox.journal) history.push_back(event);
  outbox = FakeOutbox();
  outbox.verdicts_kept = verdicts;
  start();
  join(0);
  describe(0);
  EXPECT_TRUE(told("2 verdicts were kept"));
  EXPECT_EQ(state.evaluations[0].leases->done(), 2u);
}

TEST_F(FanOut, ANewerBenchmarkMeetsNoOldVerdicts) {
  start();
  join(0);
  describe(0, "old problems");
  ask(0, 2);
  give(0, grant(0), 0);
  const Digest old_key = evaluation_digest(evaluation_key(state, state.evaluations[0]));
  const auto verdicts = outbox.verdicts_kept;
  for (const auto& event : outbox.journal) history.push_back(event);
  outbox = FakeOutbox();
  outbox.verdicts_kept = verdicts;
  start();
  join(0);
  describe(0, "new problems");
  EXPECT_TRUE(told("problem file is another one now"));
  EXPECT_TRUE(told("the 2 verdicts on the old one stay"));
  EXPECT_EQ(state.evaluations[0].leases->done(), 0u);
  EXPECT_EQ(outbox.verdicts_kept.at(old_key).size(), 2u);
  EXPECT_NE(evaluation_digest(evaluation_key(state, state.evaluations[0])), old_key);
}

TEST_F(FanOut, AWorkerWithOtherProblemsIsSentAway) {
  start();
  join(0);
  describe(0);
  join(100);
  describe(100, "other problems");
  EXPECT_EQ(outbox.to<Refused>(100).size(), 1u);
  EXPECT_FALSE(state.evaluators.contains(100));
  EXPECT_FALSE(state.failure) << "the job goes on without it";
}

TEST_F(FanOut, AVerdictThatNoLeaseCanHoldEndsItsWorkerOnly) {
  start();
  join(100);
  describe(100);
  ask(100);
  Verdict wild;
  wild.task = 99;
  say(100, VerdictsDone{grant(100).lease, {wild}, 0});
  EXPECT_EQ(outbox.to<Refused>(100).size(), 1u);
  EXPECT_EQ(kept(0), 0u);
  say(100, LeaseRequest{1, 0, {}, {}});  // not heard any more
  join(0);
  describe(0);
  ask(0, 100);
  EXPECT_EQ(grant(0).items.size(), 6u) << "what it held is lent again";
}

TEST_F(FanOut, BadInputSaidByAWorkerOfOursFailsTheJobAtOnce) {
  start();
  join(0);
  say(0, Failure{ErrorCode::bad_input, "bwrap is not installed"});
  on_evaluator_exited(state, outbox, 0, "exited with code 2");
  EXPECT_FALSE(state.failure) << "its connection may still hold what it said";
  on_evaluator_lost(state, outbox, 0, "closed");
  ASSERT_TRUE(state.failure);
  EXPECT_EQ(state.failure->code, ErrorCode::bad_input);
  EXPECT_NE(state.failure->message.find("bwrap"), std::string::npos);
  EXPECT_EQ(outbox.evaluators_stopped.size(), 1u);
}

TEST_F(FanOut, BadInputOnAnotherHostIsNoFaultOfTheJob) {
  start();
  join(100, "elsewhere");
  say(100, Failure{ErrorCode::bad_input, "bwrap is not installed"});
  on_evaluator_lost(state, outbox, 100, "closed");
  EXPECT_FALSE(state.failure);
}

TEST_F(FanOut, WorkersThatOnlyDieEndTheJob) {
  start();
  for (std::uint32_t death = 1; death < kDeathsWithoutVerdictMax * job.ranks; ++death)
    on_evaluator_exited(state, outbox, death % 2, "was killed by signal 9");
  EXPECT_FALSE(state.failure);
  on_evaluator_exited(state, outbox, 0, "was killed by signal 9");
  ASSERT_TRUE(state.failure);
  EXPECT_NE(state.failure->message.find("signal 9"), std::string::npos);
}

TEST_F(FanOut, ASignalEndsTheWorkersAndKeepsTheVerdicts) {
  start();
  join(0);
  on_stop_requested(state, outbox, "stopped by a signal");
  EXPECT_EQ(outbox.evaluators_stopped.size(), 1u);
  on_evaluator_lost(state, outbox, 0, "closed");
  on_evaluator_exited(state, outbox, 0, "was killed by signal 15");
  EXPECT_FALSE(state.failure);
  on_evaluator_exited(state, outbox, 1, "was killed by signal 15");
  ASSERT_TRUE(state.failure);
  EXPECT_EQ(state.failure->code, ErrorCode::interrupted);
  EXPECT_EQ(outbox.evaluators_started.size(), 2u) << "none is started again";
}

TEST_F(FanOut, WhoeverDoesNotLeaveIsNotWaitedFor) {
  start();
  join(0);
  join(100);
  work_to_the_end(0);
  ASSERT_EQ(state.phase, Phase::dismissing);
  on_evaluator_lost(state, outbox, 0, "closed");
  for (const std::uint32_t slot : {0u, 1u}) on_evaluator_exited(state, outbox, slot, "exited with code 0");
  EXPECT_FALSE(is_complete(state));
  on_tick(state, outbox, kDismissalMsMax + 1);
  EXPECT_TRUE(is_complete(state));
}

// The simulator's seed 275: a worker's process had ended, the end of its connection was still on its way when the deadline
// passed, and the job waited for that slot for ever.
TEST_F(FanOut, AProcessThatEndedBeforeItsConnectionIsNotWaitedForEither) {
  start();
  join(0);
  join(1);
  work_to_the_end(0);
  ASSERT_EQ(state.phase, Phase::dismissing);
  on_evaluator_lost(state, outbox, 0, "closed");
  on_evaluator_exited(state, outbox, 0, "exited with code 0");
  on_evaluator_exited(state, outbox, 1, "exited with code 0");
  EXPECT_FALSE(is_complete(state)) << "its last words may be on their way";
  on_tick(state, outbox, kDismissalMsMax + 1);
  EXPECT_TRUE(is_complete(state));
}

TEST_F(FanOut, AProcessThatEndedAndIsSentAwayForItsLastWordsIsMissedNoLonger) {
  start();
  join(0);
  join(1);
  on_evaluator_exited(state, outbox, 1, "was killed by signal 9");
  EXPECT_TRUE(state.slots.contains(1));
  say(1, VerdictsDone{{}, {}, 99});
  EXPECT_EQ(state.phase, Phase::failed) << "a worker of ours that breaks the rules is a bug";
  EXPECT_FALSE(state.slots.contains(1));
}

// Workers that come, go, are late and repeat themselves, by seed: every verdict is kept exactly once.
TEST_F(FanOut, SurvivesAnyOrderOfEvents) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    outbox = FakeOutbox();
    start();
    std::mt19937 random(seed);
    std::vector<std::tuple<ConnectionId, LeaseGrant, std::uint32_t>> held;
    ConnectionId next = 100;
    TimeMs now = 0;
    for (int step = 0; step < 20'000 && state.phase == Phase::evaluating; ++step) {
      now += random() % 1000;
      std::vector<ConnectionId> workers;
      for (const auto& [connection, evaluator] : state.evaluators) workers.push_back(connection);
      const ConnectionId worker = workers.empty() ? 0 : workers[random() % workers.size()];
      switch (workers.empty() ? 0 : random() % 8) {
        case 0:
          if (workers.size() < 4) join(next++);
          break;
        case 1:
          on_evaluator_lost(state, outbox, worker, "gone");
          std::erase_if(held, [&](const auto& entry) { return std::get<0>(entry) == worker; });
          break;
        case 2:
          on_tick(state, outbox, now);
          break;
        case 3:
          if (!held.empty()) {
            // Late ones and repeated ones too.
            const auto [holder, lease, number] = held[random() % held.size()];
            give(holder, lease, number);
          }
          break;
        default: {
          const Evaluator& evaluator = state.evaluators.at(worker);
          if (!evaluator.order) break;
          const std::uint32_t number = *evaluator.order;
          if (!evaluator.described) {
            describe(worker);
          } else if (evaluator.items_asked == 0) {
            const std::size_t before = grants(worker);
            ask(worker, 1 + random() % 3);
            // One in four is forgotten, and so is what is granted later: those leases expire.
            if (grants(worker) > before && !grant(worker).items.empty() && random() % 4 != 0)
              held.emplace_back(worker, outbox.to<LeaseGrant>(worker)[before], number);
          }
        }
      }
      ASSERT_FALSE(told("sent away")) << "seed " << seed << ": " << outbox.lines.back();
    }
    ASSERT_EQ(state.phase, Phase::dismissing) << "seed " << seed;
    EXPECT_EQ(kept(0), 6u) << "seed " << seed;
    EXPECT_EQ(kept(1), 6u) << "seed " << seed;
  }
}

}  // namespace
}  // namespace quench::coordinator
