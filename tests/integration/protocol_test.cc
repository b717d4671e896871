// A named protocol through the whole program: its settings are printed resolved, its prompts, budget and cut
// are what the verdicts come from, and a key that contradicts it is refused before anything runs.
#include <gtest/gtest.h>

#include "tests/integration/small_job.h"

namespace quench::testing {
namespace {

nlohmann::json protocol_job() {
  return {{"name", "study"},
          {"model", fixture("tiny_coder").string()},
          {"protocol", "giagnorio-2025"},
          {"evaluate", {{{"benchmark", "multipl-e-humaneval"}, {"language", "python"}, {"tasks", 1}}}}};
}

TEST(Protocol, RunsAndPrintsWhatItResolvedTo) {
  const ScratchDirectory scratch;
  write_text(scratch / "job.json", protocol_job().dump());
  const Finished plan = run({quench_program(), "plan", "--sizes", scratch / "job.json"});
  EXPECT_EQ(plan.exit_code, 0) << plan.err;
  EXPECT_NE(
      plan.out.find(
          "evaluations, protocol giagnorio-2025\n    multipl-e-humaneval python: the first 1 tasks, 20 "
          "samples, temperature 0.2, top-p 0.95, 1024 tokens including the prompt, prompt stripped, cut "
          "firstFunction, chat none"),
      std::string::npos)
      << plan.out;

  const Finished finished = run(run_arguments(scratch / "job.json", scratch / "store", 1));
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  const nlohmann::json report = nlohmann::json::parse(finished.out);
  const nlohmann::json& score = report.at("artifacts").at(0).at("evaluations").at(0);
  EXPECT_EQ(score.at("benchmark"), "multipl-e-humaneval");
  EXPECT_EQ(score.at("samples"), 20);
}

TEST(Protocol, RefusesWhatContradictsIt) {
  const ScratchDirectory scratch;
  nlohmann::json job = protocol_job();
  job["evaluate"][0]["temperature"] = 0.8;
  write_text(scratch / "job.json", job.dump());
  const Finished finished = run(run_arguments(scratch / "job.json", scratch / "store", 1));
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_NE(finished.err.find("found 0.8, but the protocol giagnorio-2025"), std::string::npos)
      << finished.err;
  EXPECT_NE(finished.err.find("says 0.2"), std::string::npos) << finished.err;
}

// An instruct evaluation of a model that says nothing of a chat is refused before anything is quantized.
TEST(Protocol, AutoChatNeedsATemplateThatIsKnown) {
  const ScratchDirectory scratch;
  nlohmann::json job = protocol_job();
  job.erase("protocol");
  job["evaluate"] = {{{"benchmark", "humaneval"}, {"chat", "auto"}, {"tasks", 1}}};
  write_text(scratch / "job.json", job.dump());
  const Finished finished = run(run_arguments(scratch / "job.json", scratch / "store", 1));
  EXPECT_EQ(finished.exit_code, 2) << finished.err;
  EXPECT_NE(finished.err.find("has no chat_template"), std::string::npos) << finished.err;
}

// The same model through a chat: the question, one code block out of the answer, a verdict.
TEST(Protocol, ChatsAreEvaluated) {
  const ScratchDirectory scratch;
  nlohmann::json job = protocol_job();
  job.erase("protocol");
  job["evaluate"] = {
      {{"benchmark", "humaneval"}, {"chat", "codellamaInstruct"}, {"tasks", 2}, {"maxTokens", 32}},
      {{"benchmark", "mbpp"}, {"promptForm", "threeShot"}, {"tasks", 2}, {"maxTokens", 16}},
      {{"benchmark", "humaneval"}, {"tokenBudget", "includingPrompt"}, {"tasks", 2}, {"maxTokens", 16}}};
  write_text(scratch / "job.json", job.dump());
  const Finished finished = run(run_arguments(scratch / "job.json", scratch / "store", 1));
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  const nlohmann::json report = nlohmann::json::parse(finished.out);
  EXPECT_EQ(report.at("artifacts").at(0).at("evaluations").size(), 3u);
}

}  // namespace
}  // namespace quench::testing
