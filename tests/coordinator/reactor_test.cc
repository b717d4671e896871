// The course of a job and its gang, without sockets, disks or clocks: orders, commits, and what happens when
// something dies at each of these points. Evaluation is in fan_out_test.
#include "coordinator/reactor.h"

#include <gtest/gtest.h>

#include "coordinator/routes.h"
#include "tests/coordinator/fake_outbox.h"
#include "tests/coordinator/messages_by_name.h"

namespace quench::coordinator {
namespace {

constexpr std::uint32_t kBlocks = 2;

Digest named(const std::string& text) { return sha256(text); }

JobSpec two_artifacts() {
  JobSpec job;
  job.name = "job";
  job.model = "/models/m";
  job.baseline = true;
  QuantizeSpec gptq;
  gptq.bits = 4;
  job.quantize = {gptq};
  job.calibration.files = {"/text"};
  EvaluateSpec evaluate;
  evaluate.samples = 2;
  job.evaluate = {evaluate};
  job.ranks = 2;
  return job;
}

class Reactor : public ::testing::Test {
 protected:
  void start(const std::vector<quench::JournalEvent>& history = {}) {
    state = open_job(job, named("id"), named("source"), kBlocks, history);
    on_start(state, outbox);
    join();
  }
  void join() {
    for (std::uint32_t rank = 0; rank < job.ranks; ++rank) {
      Hello hello;
      hello.rank = {rank, job.ranks};
      hello.host = "node";
      hello.isa = "avx2";
      on_rank_joined(state, outbox, connection(rank), hello);
    }
  }
  ConnectionId connection(std::uint32_t rank) const { return 100 * state.attempt.value + rank; }
  void say(std::uint32_t rank, const Message& message) {
    on_rank_message(state, outbox, connection(rank), decode_message(encode(message)));
  }
  static TensorRecord tensor(const std::string& name) {
    TensorRecord record;
    record.name = name;
    record.dtype = DType::f32;
    record.shape = {4};
    record.chunks = {{named(name), 16}};
    return record;
  }
  void do_outer(std::uint32_t artifact) {
    say(0, OuterDone{artifact,
                     artifact == 0 ? Digest{} : named("calibration"),
                     {{"config.json", {named("c"), 3}}},
                     {tensor("embed")}});
  }
  void do_block(std::uint32_t artifact, std::uint32_t block) {
    say(0, BlockDone{artifact, block, {tensor("t" + std::to_string(block))}, {{"t", 0.5, 0.1}}, 1.5, false});
  }
  void do_artifact(std::uint32_t artifact) {
    do_outer(artifact);
    for (std::uint32_t block = 0; block < kBlocks; ++block) do_block(artifact, block);
    say(0, ArtifactDone{artifact, 3, 0});
  }
  JobSpec job = two_artifacts();
  State state;
  FakeOutbox outbox;
};

TEST_F(Reactor, QuantizesThenLetsTheGangGo) {
  start();
  ASSERT_EQ(outbox.to<QuantizeOrder>(connection(1)).size(), 1u);
  do_artifact(0);
  do_artifact(1);
  EXPECT_EQ(outbox.published.count("job/none"), 1u);
  EXPECT_EQ(outbox.published.at("job/gptq-4bit-g128-sym").tensors.size(), 3u);
  EXPECT_EQ(outbox.published.at("job/gptq-4bit-g128-sym").losses.size(), 2u);
  EXPECT_EQ(outbox.runs.at(1).hosts, std::vector<std::string>{"node"});
  EXPECT_EQ(outbox.to<ExitOrder>(connection(0)).size(), 1u);
  EXPECT_EQ(state.phase, Phase::leaving);
  EXPECT_TRUE(outbox.evaluators_started.empty()) << "the ranks still hold the cores";
  on_gang_exited(state, outbox, "");
  EXPECT_EQ(state.phase, Phase::evaluating);
  EXPECT_EQ(outbox.evaluators_started, (std::vector<std::uint32_t>{0, 1}));
}

TEST_F(Reactor, AGangThatStumblesOnItsWayOutHasDoneItsWork) {
  start();
  do_artifact(0);
  do_artifact(1);
  on_gang_exited(state, outbox, "rank 1 was killed by signal 9");
  EXPECT_EQ(state.phase, Phase::evaluating);
  EXPECT_EQ(outbox.started.size(), 1u);
}

TEST_F(Reactor, AJobWithoutEvaluationsIsDoneWithItsGang) {
  job.evaluate.clear();
  start();
  do_artifact(0);
  do_artifact(1);
  on_gang_exited(state, outbox, "");
  EXPECT_TRUE(is_complete(state));
  EXPECT_TRUE(outbox.evaluators_started.empty());
}

TEST_F(Reactor, ALostRankCostsAtMostTheCurrentBlock) {
  start();
  do_artifact(0);
  do_outer(1);
  do_block(1, 0);
  on_rank_lost(state, outbox, connection(1), "gone");
  EXPECT_EQ(outbox.stopped.size(), 1u);
  on_gang_exited(state, outbox, "rank 1 was killed by signal 9");
  ASSERT_EQ(outbox.started, (std::vector<std::uint32_t>{1, 2}));
  join();
  const QuantizeOrder order = outbox.to<QuantizeOrder>(connection(0)).back();
  EXPECT_EQ(order.artifact, 1u);
  EXPECT_EQ(order.first_block, 1u);
  EXPECT_TRUE(order.outer_committed);
  EXPECT_EQ(order.calibration, named("calibration"));
  ASSERT_EQ(order.committed.size(), 1u);
  EXPECT_EQ(order.committed[0].name, "t0");
  do_block(1, 1);
  say(0, ArtifactDone{1, 3, 0});
  EXPECT_EQ(outbox.published.size(), 2u);
}

TEST_F(Reactor, TheJournalGivesTheStateBack) {
  start();
  do_artifact(0);
  do_outer(1);
  do_block(1, 0);
  // The coordinator dies here; another one reads what was recorded.
  const std::vector<quench::JournalEvent> history = outbox.journal;
  const Manifest first = outbox.published.at("job/none");
  outbox = FakeOutbox();
  job.ranks = 3;
  start(history);
  EXPECT_EQ(state.attempt.value, 2u);
  EXPECT_EQ(state.artifacts[0].published, manifest_digest(first));
  const QuantizeOrder order = outbox.to<QuantizeOrder>(connection(2)).back();
  EXPECT_EQ(order.artifact, 1u);
  EXPECT_EQ(order.first_block, 1u);
}

TEST_F(Reactor, ABlockIsCommittedWithItsChunksBeforeItIsAcknowledged) {
  start();
  do_outer(0);
  outbox.disk_full = true;
  do_block(0, 0);
  EXPECT_EQ(outbox.to<BlockCommitted>(connection(0)).size(), 1u)
      << "only the outer tensors were acknowledged";
  EXPECT_EQ(state.phase, Phase::failed);
  ASSERT_TRUE(state.failure);
  EXPECT_NE(state.failure->message.find("no space"), std::string::npos);
  EXPECT_EQ(outbox.stopped.size(), 1u);
}

TEST_F(Reactor, MessagesOutOfOrderFailTheJobInsteadOfCorruptingIt) {
  start();
  do_outer(0);
  do_block(0, 1);
  EXPECT_EQ(state.phase, Phase::failed);
  EXPECT_TRUE(state.artifacts[0].blocks.empty());
}

TEST_F(Reactor, ChangedCalibrationIsRefused) {
  start();
  do_artifact(0);
  do_outer(1);
  on_rank_lost(state, outbox, connection(0), "gone");
  on_gang_exited(state, outbox, "gone");
  join();
  state.artifacts[1].outer.reset();
  say(0, OuterDone{1, named("other text"), {}, {}});
  EXPECT_EQ(state.phase, Phase::failed);
  EXPECT_NE(state.failure->message.find("calibration"), std::string::npos);
}

// A coordinator that was killed while its gang worked on: what another one knows is what was recorded.
class TakenOver : public Reactor {
 protected:
  void restart() {
    history = outbox.journal;
    history.push_back(GangStarted{state.attempt.value, "/gangs/one"});
    outbox = FakeOutbox();
    outbox.gang_is_left = true;
    state = open_job(job, named("id"), named("source"), kBlocks, history);
    on_start(state, outbox);
  }
  void say_both(std::uint32_t orders) {
    for (std::uint32_t rank = 0; rank < 2; ++rank) say(rank, Resuming{orders});
  }
  std::vector<quench::JournalEvent> history;
};

TEST_F(TakenOver, GoesOnInItsAttemptOnceEveryRankIsBack) {
  start();
  do_artifact(0);
  do_outer(1);
  do_block(1, 0);
  restart();
  EXPECT_TRUE(outbox.started.empty());
  join();
  say(1, Resuming{2});
  EXPECT_TRUE(outbox.to<Resumed>(connection(1)).empty()) << "rank 0 might say again what rank 1 has not put again";
  say(0, Resuming{2});
  ASSERT_EQ(outbox.to<Resumed>(connection(1)).size(), 1u);
  EXPECT_EQ(outbox.to<Resumed>(connection(1))[0], (Resumed{1, 1, true}));
  EXPECT_TRUE(outbox.to<QuantizeOrder>(connection(1)).empty()) << "it works on that order";
  do_block(1, 1);
  say(0, ArtifactDone{1, 3, 0});
  EXPECT_EQ(outbox.published.size(), 1u);
  EXPECT_EQ(outbox.runs.at(0).attempts, 1u);
  EXPECT_EQ(outbox.to<ExitOrder>(connection(1)).size(), 1u);
}

TEST_F(TakenOver, ABlockThatArrivesTwiceIsTheSameOrAnError) {
  start();
  do_artifact(0);
  do_outer(1);
  do_block(1, 0);
  restart();
  join();
  say_both(2);
  do_outer(1);
  do_block(1, 0);
  EXPECT_EQ(outbox.to<BlockCommitted>(connection(0)).size(), 2u);
  EXPECT_TRUE(outbox.journal.empty()) << "recorded again";
  EXPECT_EQ(state.phase, Phase::quantizing);
  say(0, BlockDone{1, 0, {tensor("another")}, {{"t", 0.5, 0.1}}, 1.5, false});
  EXPECT_EQ(state.phase, Phase::failed);
  EXPECT_NE(state.failure->message.find("a second time, and other than the first"), std::string::npos) << state.failure->message;
}

TEST_F(TakenOver, GetsTheOrderThatDidNotArriveAnyMore) {
  start();
  do_artifact(0);
  restart();
  join();
  say(0, Resuming{1});
  say(1, Resuming{2});  // it came to this one
  EXPECT_EQ(outbox.to<QuantizeOrder>(connection(0)).size(), 1u);
  EXPECT_TRUE(outbox.to<QuantizeOrder>(connection(1)).empty());
  say(0, ArtifactDone{0, 3, 0});  // without an answer so far
  EXPECT_EQ(state.phase, Phase::quantizing);
  EXPECT_EQ(state.current, 1u);
  do_artifact(1);
  EXPECT_EQ(outbox.published.size(), 1u);
}

TEST_F(TakenOver, WhoseWorkIsDoneIsLetGoRankByRank) {
  job.evaluate.clear();
  start();
  do_artifact(0);
  do_artifact(1);
  restart();
  EXPECT_EQ(state.phase, Phase::leaving);
  Hello hello;
  hello.rank = {1, 2};
  on_rank_joined(state, outbox, connection(1), hello);  // rank 0 has left
  say(1, Resuming{2});
  EXPECT_EQ(outbox.to<ExitOrder>(connection(1)).size(), 1u);
  on_rank_lost(state, outbox, connection(1), "closed");
  on_gang_exited(state, outbox, "");
  EXPECT_TRUE(is_complete(state));
}

TEST_F(TakenOver, IsReplacedWhenItDoesNotComeBack) {
  start();
  do_artifact(0);
  restart();
  Hello hello;
  hello.rank = {0, 2};
  on_rank_joined(state, outbox, connection(0), hello);
  on_tick(state, outbox, kGatheringMsMax + 1);
  ASSERT_EQ(outbox.stopped.size(), 1u);
  EXPECT_NE(outbox.stopped[0].find("1 of 2 ranks"), std::string::npos);
  on_gang_exited(state, outbox, "", cluster::GangEnd::stopped);
  EXPECT_EQ(outbox.started, std::vector<std::uint32_t>{2});
}

TEST_F(TakenOver, AGangThatIsGoneIsFollowedByTheNextAttempt) {
  start();
  do_artifact(0);
  restart();
  history.push_back(AttemptEnded{1, "seen by a service in between"});
  outbox = FakeOutbox();
  state = open_job(job, named("id"), named("source"), kBlocks, history);
  on_start(state, outbox);
  EXPECT_EQ(outbox.adoptions, 0) << "it has ended";
  history.pop_back();
  outbox = FakeOutbox();
  state = open_job(job, named("id"), named("source"), kBlocks, history);
  on_start(state, outbox);
  EXPECT_EQ(outbox.adoptions, 1);
  EXPECT_EQ(outbox.started, std::vector<std::uint32_t>{2});
  ASSERT_EQ(outbox.journal.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<AttemptEnded>(outbox.journal[0]));
}

TEST_F(Reactor, AttemptsWithoutProgressEndTheJob) {
  start();
  for (std::uint32_t attempt = 1; attempt < kFruitlessAttemptsMax; ++attempt) {
    on_gang_exited(state, outbox, "mpirun died");
    EXPECT_EQ(outbox.started.size(), attempt + 1);
    join();
  }
  on_gang_exited(state, outbox, "mpirun died");
  EXPECT_EQ(state.phase, Phase::failed);
  EXPECT_EQ(state.failure->message, "mpirun died");
}

TEST_F(Reactor, WhatAPhaseTookIsKeptUnderWhatTheCoordinatorKnows) {
  start();
  do_artifact(0);
  UsageDone quantized;
  quantized.artifact = 0;
  quantized.usage.seconds = 2;
  quantized.usage.host = "a name that the rank made up";
  quantized.usage.rank = 17;
  say(1, quantized);
  ASSERT_EQ(outbox.to<UsageKept>(connection(1)).size(), 1u);
  const PhaseUsage& kept = outbox.usage_kept.find({0, kNoEvaluation})->second;
  EXPECT_EQ(kept.host, "node");
  EXPECT_EQ(kept.rank, 1u);
  EXPECT_EQ(kept.attempt, 1u);
  EXPECT_EQ(kept.seconds, 2);
  do_artifact(1);
  UsageDone evaluated;
  evaluated.evaluation = 0;
  evaluated.published = *state.artifacts[1].published;
  evaluated.usage.weight_bytes = 5;
  say(0, evaluated);
  EXPECT_EQ(outbox.usage_kept.count({1, 0}), 1u);
  evaluated.published = named("nobody's");
  say(0, evaluated);
  EXPECT_EQ(state.phase, Phase::failed);
  EXPECT_EQ(outbox.usage_kept.size(), 2u);
}

// The last one comes when the gang was already told to go.
TEST_F(Reactor, WhatTheLastPhaseTookIsKeptWhileTheGangLeaves) {
  job.evaluate.clear();
  start();
  do_artifact(0);
  do_artifact(1);
  ASSERT_EQ(state.phase, Phase::leaving);
  UsageDone quantized;
  quantized.artifact = 1;
  say(1, quantized);
  EXPECT_EQ(outbox.usage_kept.count({1, kNoEvaluation}), 1u);
  EXPECT_EQ(outbox.to<UsageKept>(connection(1)).size(), 1u);
}

TEST_F(Reactor, BadInputIsNotTriedAgain) {
  start();
  say(1, Failure{ErrorCode::bad_input, "config.json: nonsense"});
  on_rank_lost(state, outbox, connection(1), "closed");
  on_gang_exited(state, outbox, "exit code 2");
  EXPECT_EQ(outbox.started.size(), 1u);
  ASSERT_TRUE(state.failure);
  EXPECT_EQ(state.failure->code, ErrorCode::bad_input);
  EXPECT_NE(state.failure->message.find("config.json: nonsense"), std::string::npos);
}

TEST_F(Reactor, RanksThatNeverComeAreGivenUp) {
  state = open_job(job, named("id"), named("source"), kBlocks, {});
  on_start(state, outbox);
  Hello hello;
  hello.rank = {0, 2};
  on_rank_joined(state, outbox, 100, hello);
  on_tick(state, outbox, kGatheringMsMax + 1);
  ASSERT_EQ(outbox.stopped.size(), 1u);
  EXPECT_NE(outbox.stopped[0].find("1 of 2 ranks"), std::string::npos);
}

// The launcher takes a moment to end them.
TEST_F(Reactor, RanksThatComeWhileTheirGangEndsAreLetIn) {
  state = open_job(job, named("id"), named("source"), kBlocks, {});
  on_start(state, outbox);
  Hello hello;
  hello.rank = {0, 2};
  on_rank_joined(state, outbox, connection(0), hello);
  say(0, Failure{ErrorCode::bad_input, "backend avx1024: unknown"});
  on_rank_lost(state, outbox, connection(0), "closed");
  hello.rank = {1, 2};
  EXPECT_NO_THROW(on_rank_joined(state, outbox, connection(1), hello));
  say(1, Failure{ErrorCode::bad_input, "the same of rank 1"});
  on_gang_exited(state, outbox, "exit code 2");
  ASSERT_TRUE(state.failure);
  EXPECT_NE(state.failure->message.find("avx1024"), std::string::npos);
  EXPECT_EQ(outbox.started.size(), 1u);
}

// Hours in a queue are no sign of a lost rank.
TEST_F(Reactor, AGangInAQueueIsWaitedForAndItsRanksOnlyOnceItRuns) {
  state = open_job(job, named("id"), named("source"), kBlocks, {});
  on_start(state, outbox);
  on_gang_waiting(state, outbox, "Slurm job 7 waits: Resources");
  on_tick(state, outbox, 100 * kGatheringMsMax);
  EXPECT_TRUE(outbox.stopped.empty());
  EXPECT_EQ(outbox.lines.back(), "Slurm job 7 waits: Resources");
  on_gang_running(state, outbox, "on n1");
  on_tick(state, outbox, 101 * kGatheringMsMax);
  EXPECT_TRUE(outbox.stopped.empty());
  on_tick(state, outbox, 101 * kGatheringMsMax + 1);
  EXPECT_EQ(outbox.stopped.size(), 1u);
}

TEST_F(Reactor, AnAllocationMayHaveAnotherSizeThanWasWishedFor) {
  state = open_job(job, named("id"), named("source"), kBlocks, {});
  on_start(state, outbox);
  Hello hello;
  for (std::uint32_t rank = 0; rank < 3; ++rank) {
    EXPECT_TRUE(outbox.to<QuantizeOrder>(connection(0)).empty());
    hello.rank = {rank, 3};
    on_rank_joined(state, outbox, connection(rank), hello);
  }
  EXPECT_EQ(outbox.to<QuantizeOrder>(connection(2)).size(), 1u);
  do_artifact(0);
  EXPECT_EQ(outbox.runs.at(0).ranks, 3u);
}

TEST_F(Reactor, PreemptionsAreNotCountedAgainstTheJob) {
  start();
  for (int preemption = 0; preemption < 20; ++preemption) {
    on_rank_lost(state, outbox, connection(1), "closed");
    on_gang_exited(state, outbox, "Slurm put job 7 back into its queue", cluster::GangEnd::preempted);
    ASSERT_FALSE(state.failure);
    join();
  }
  EXPECT_EQ(outbox.started.size(), 21u);
}

// Submitting for ever would use up a lab's hours.
TEST_F(Reactor, ATimeLimitTooShortForOneBlockEndsTheJob) {
  start();
  do_outer(0);
  for (std::uint32_t attempt = 0; attempt <= kFruitlessAttemptsMax; ++attempt) {
    ASSERT_FALSE(state.failure) << attempt;
    on_rank_lost(state, outbox, connection(1), "closed");
    on_gang_exited(state, outbox, "Slurm job 7 met its time limit of 60 s", cluster::GangEnd::time_limit);
    if (attempt < kFruitlessAttemptsMax) join();
  }
  ASSERT_TRUE(state.failure);
  EXPECT_NE(state.failure->message.find("time limit"), std::string::npos);
}

TEST_F(Reactor, APersonWhoCancelsInTheBatchSystemIsObeyed) {
  start();
  on_rank_lost(state, outbox, connection(1), "closed");
  on_gang_exited(state, outbox, "Slurm job 7 was cancelled in Slurm", cluster::GangEnd::cancelled);
  ASSERT_TRUE(state.failure);
  EXPECT_EQ(state.failure->code, ErrorCode::interrupted);
  EXPECT_EQ(outbox.started.size(), 1u);
}

TEST_F(Reactor, WhatTheBatchSystemRefusesIsTheInputsFault) {
  state = open_job(job, named("id"), named("source"), kBlocks, {});
  on_start(state, outbox);
  on_gang_exited(state, outbox, "sbatch refused site.sbatch: Invalid partition", cluster::GangEnd::refused);
  ASSERT_TRUE(state.failure);
  EXPECT_EQ(state.failure->code, ErrorCode::bad_input);
}

TEST_F(Reactor, ASignalEndsTheRunAsInterrupted) {
  start();
  do_outer(0);
  on_stop_requested(state, outbox, "stopped by a signal");
  EXPECT_EQ(outbox.stopped.size(), 1u);
  on_gang_exited(state, outbox, "stopped");
  ASSERT_TRUE(state.failure);
  EXPECT_EQ(state.failure->code, ErrorCode::interrupted);
  EXPECT_EQ(outbox.started.size(), 1u);
}

// The table of routes says what a rank may send; with anything else the job fails, and nothing is written.
TEST_F(Reactor, TakesFromRanksWhatTheTableNames) {
  std::uint32_t refused = 0;
  for (const Route& route : routes()) {
    if (route.port != Port::worker) continue;
    const Message message = message_named(route.name);
    const bool taken = route.scope == Scope::rank || route.scope == Scope::worker;
    EXPECT_EQ(may_send(PeerRole::rank, message), taken) << route.name;
    if (taken) continue;
    outbox = FakeOutbox();
    start();
    const std::size_t written = outbox.journal.size();
    say(1, message);
    ASSERT_EQ(state.phase, Phase::failed) << route.name;
    EXPECT_NE(state.failure->message.find("a message that ranks do not send"), std::string::npos) << route.name;
    EXPECT_EQ(outbox.journal.size(), written) << route.name;
    ++refused;
  }
  EXPECT_GT(refused, 15u);
}

}  // namespace
}  // namespace quench::coordinator
