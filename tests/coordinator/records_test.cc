// Verdicts in a real store: kept for ever under their key, the first of two stays, and what is kept can be
// graded again without a model.
#include "coordinator/records.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "coordinator/kept_completions.h"
#include "schemas/codec.h"
#include "schemas/error.h"
#include "tests/coordinator/store/store_fixture.h"

namespace quench::coordinator {
namespace {

Verdict verdict(std::uint32_t task, std::uint32_t sample, const std::string& completion,
                VerdictResult result = VerdictResult::passed) {
  Verdict one;
  one.task = task;
  one.sample = sample;
  one.completion = completion;
  one.result = result;
  return one;
}

class Records : public ::testing::Test {
 protected:
  TemporaryDirectory directory_;
  ArtifactStore store_ = ArtifactStore::open(directory_.path() / "store", OpenMode::create);
};

TEST_F(Records, AVerdictThatIsKeptStays) {
  const Digest key = sha256("evaluation");
  EXPECT_TRUE(keep_verdicts(store_, key, {verdict(0, 0, "a"), verdict(1, 0, "b")}).empty());
  Verdict again = verdict(0, 0, "a");
  again.cpu_seconds = 9;  // time differs from run to run
  EXPECT_TRUE(keep_verdicts(store_, key, {again, verdict(2, 0, "c")}).empty());
  const auto contradicting = keep_verdicts(
      store_, key, {verdict(0, 0, "other"), verdict(1, 0, "b", VerdictResult::failed), verdict(3, 0, "d")});
  ASSERT_EQ(contradicting.size(), 2u);
  EXPECT_EQ(contradicting[0].completion, "other");
  EXPECT_EQ(contradicting[1].result, VerdictResult::failed);
  const std::vector<Verdict> kept = read_verdicts(store_, key);
  ASSERT_EQ(kept.size(), 4u);
  EXPECT_EQ(kept[0], verdict(0, 0, "a"));
  EXPECT_EQ(kept[1], verdict(1, 0, "b"));
  EXPECT_EQ(kept[3].completion, "d");
  EXPECT_TRUE(read_verdicts(store_, sha256("another evaluation")).empty());
}

TEST_F(Records, TheFirstOfTwoInOneMessageStays) {
  const Digest key = sha256("evaluation");
  EXPECT_EQ(keep_verdicts(store_, key, {verdict(0, 0, "a"), verdict(0, 0, "b"), verdict(0, 0, "a")}).size(), 1u);
  EXPECT_EQ(read_verdicts(store_, key), std::vector<Verdict>{verdict(0, 0, "a")});
}

TEST_F(Records, ABatchIsKeptAsAWholeAndKnowsWhatItHasTaken) {
  const Digest key = sha256("evaluation");
  keep_verdicts(store_, key, {verdict(0, 0, "a")});
  VerdictBatch batch(store_);
  EXPECT_TRUE(batch.empty());
  EXPECT_TRUE(batch.add(key, {verdict(0, 0, "a")}).empty());
  EXPECT_TRUE(batch.empty()) << "that one is kept already";
  EXPECT_TRUE(batch.add(key, {verdict(1, 0, "b")}).empty());
  EXPECT_EQ(batch.add(key, {verdict(1, 0, "other"), verdict(2, 0, "c")}).size(), 1u);
  EXPECT_EQ(batch.add(sha256("another evaluation"), {verdict(1, 0, "other")}).size(), 0u);
  EXPECT_EQ(read_verdicts(store_, key).size(), 1u) << "nothing is kept before the commit";
  batch.commit();
  EXPECT_TRUE(batch.empty());
  EXPECT_EQ(read_verdicts(store_, key), (std::vector<Verdict>{verdict(0, 0, "a"), verdict(1, 0, "b"), verdict(2, 0, "c")}));
  EXPECT_EQ(read_verdicts(store_, sha256("another evaluation")).size(), 1u);
}

TEST_F(Records, TheKeyHoldsEverySettingButHowMuchIsAskedFor) {
  const EvaluateSpec spec;
  const auto digest = [](const EvaluateSpec& of, const std::string& problems = "p") {
    return evaluation_digest(evaluation_key(sha256("artifact"), sha256(problems), of));
  };
  EvaluateSpec more = spec;
  more.samples = 20;
  more.tasks = 3;
  EXPECT_EQ(digest(more), digest(spec));
  EXPECT_NE(digest(spec, "newer problems"), digest(spec));
  std::vector<EvaluateSpec> others(6, spec);
  others[0].benchmark = "mbpp";
  others[1].language = "java";
  others[2].temperature = 0.2;
  others[3].top_p = 0.95;
  others[4].max_tokens = 1024;
  others[5].seed = 1;
  for (const EvaluateSpec& other : others) EXPECT_NE(digest(other), digest(spec));
}

// A job with one artifact and two evaluations, one of them opened twice: its problem file changed in between.
class KeptCompletions : public Records {
 protected:
  KeptCompletions() {
    JobSpec job;
    job.name = "job";
    job.evaluate.resize(2);
    job.evaluate[1].temperature = 0.8;
    Commit commit;
    const auto add = [&](const quench::JournalEvent& event) {
      commit.append_journal(journal_name(sha256("id")), encode(event));
    };
    add(JobAccepted{job, sha256("source")});
    add(ArtifactPublished{0, artifact_, 1});
    add(EvaluationOpened{0, 0, sha256("old"), {"T/0", "T/1"}});
    add(EvaluationOpened{0, 0, sha256("new"), {"T/0", "T/1", "T/2"}});
    add(EvaluationOpened{0, 1, sha256("new"), {"T/0", "T/1", "T/2"}});
    add(EvaluationOpened{1, 1, sha256("new"), {"T/0", "T/1", "T/2"}});  // of an artifact never published
    store_.commit(commit);
    old_key_ = evaluation_digest(evaluation_key(artifact_, sha256("old"), job.evaluate[0]));
    new_key_ = evaluation_digest(evaluation_key(artifact_, sha256("new"), job.evaluate[0]));
    keep_verdicts(store_, old_key_, {verdict(1, 0, "old answer", VerdictResult::failed)});
    Verdict cut = verdict(2, 1, "answer");
    cut.output = "answer\ndef next";
    keep_verdicts(store_, new_key_, {verdict(0, 0, "one"), cut});
  }
  const Digest artifact_ = sha256("artifact");
  Digest old_key_, new_key_;
};

TEST_F(KeptCompletions, AreFoundUnderEveryProblemFile) {
  const std::vector<KeptEvaluation> all = kept_evaluations(store_, artifact_);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].digest, old_key_);
  EXPECT_EQ(all[1].digest, new_key_);
  EXPECT_TRUE(kept_evaluations(store_, sha256("another artifact")).empty());
}

TEST_F(KeptCompletions, AreLinesThatGradeTakes) {
  const KeptEvaluation chosen = choose_evaluation(store_, artifact_, {"", new_key_.hex().substr(0, 12)});
  std::istringstream lines(completions_to_json_lines(store_, chosen));
  std::vector<nlohmann::json> read;
  for (std::string line; std::getline(lines, line);) read.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0]["task_id"], "T/0");
  EXPECT_EQ(read[0]["completion"], "one");
  EXPECT_FALSE(read[0].contains("output")) << "nothing was cut";
  EXPECT_EQ(read[1]["task_id"], "T/2");
  EXPECT_EQ(read[1]["sample"], 1);
  EXPECT_EQ(read[1]["output"], "answer\ndef next");
  EXPECT_EQ(read[1]["kept_result"], "passed");
}

TEST_F(KeptCompletions, SeveralEvaluationsAreListedForAChoice) {
  const auto message = [&](const Digest& artifact, const CompletionsChoice& choice) {
    try {
      choose_evaluation(store_, artifact, choice);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const std::string several = message(artifact_, {"humaneval", ""});
  EXPECT_NE(several.find(old_key_.short_hex()), std::string::npos) << several;
  EXPECT_NE(several.find(new_key_.short_hex()), std::string::npos) << several;
  EXPECT_NE(several.find("--evaluation"), std::string::npos) << several;
  EXPECT_NE(message(artifact_, {"mbpp", ""}).find("it has:"), std::string::npos);
  EXPECT_NE(message(sha256("another"), {}).find("no evaluation of it is kept"), std::string::npos);
}

}  // namespace
}  // namespace quench::coordinator
