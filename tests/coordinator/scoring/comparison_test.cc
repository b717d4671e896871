// Which completions are paired, and what is said when the pairs are not alike.
#include "coordinator/scoring/comparison.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "coordinator/scoring/grade_files.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

using testing::TempDir;

EvaluationScore evaluation(const std::vector<std::vector<bool>>& outcomes,
                           const std::string& language = "python") {
  EvaluationScore score;
  score.spec.benchmark = "humaneval";
  score.spec.language = language;
  for (std::size_t task = 0; task < outcomes.size(); ++task)
    score.outcomes.push_back({"T/" + std::to_string(task), outcomes[task]});
  score_outcomes(score, {});
  return score;
}

ArtifactScore artifact(const std::string& name, Method method, std::vector<EvaluationScore> evaluations) {
  ArtifactScore one;
  one.name = name;
  one.method = method;
  one.evaluations = std::move(evaluations);
  return one;
}

bool warns_of(const Comparison& comparison, const std::string& words) {
  for (const std::string& warning : comparison.warnings)
    if (warning.find(words) != std::string::npos) return true;
  return false;
}

TEST(Comparison, EveryArtifactWithTheBaselineInOneFamily) {
  const std::vector<Comparison> comparisons =
      compare_all({artifact("a", Method::gptq, {evaluation({{true}, {false}, {false}, {true}})}),
                   artifact("base", Method::none, {evaluation({{true}, {true}, {true}, {false}})}),
                   artifact("b", Method::rtn, {evaluation({{false}, {false}, {false}, {false}})})});
  ASSERT_EQ(comparisons.size(), 2u);
  EXPECT_EQ(comparisons[0].a, "base");
  EXPECT_EQ(comparisons[0].b, "a");
  EXPECT_EQ(comparisons[0].pairs.only_a, 2u);
  EXPECT_EQ(comparisons[0].pairs.only_b, 1u);
  EXPECT_DOUBLE_EQ(comparisons[0].risk.difference, -0.25);
  EXPECT_DOUBLE_EQ(comparisons[1].pooled.p, 0.25);
  EXPECT_DOUBLE_EQ(comparisons[1].pooled.benjamini_hochberg, 0.5);
  EXPECT_DOUBLE_EQ(comparisons[1].pooled.holm, 0.5);
  for (const Comparison& comparison : comparisons) {
    EXPECT_EQ(comparison.family, "humaneval python against base");
    EXPECT_TRUE(comparison.warnings.empty());
  }
}

TEST(Comparison, PairsEqualTasksAndSamplesAndSaysWhatWasLeftOut) {
  EvaluationScore a = evaluation({{true, true, false}, {true, false, false}, {false, false, true}});
  EvaluationScore b = evaluation({{false, true}, {true, true}});
  std::swap(b.outcomes[0], b.outcomes[1]);  // the order of tasks must not matter
  const Comparison comparison = compare_pair(a, b);
  EXPECT_EQ(comparison.tasks, 2u);
  EXPECT_EQ(comparison.pairs_in_all, 4u);
  EXPECT_EQ(comparison.pairs.only_a, 1u);  // T/0, sample 0
  EXPECT_EQ(comparison.pairs.only_b, 1u);  // T/1, sample 1
  EXPECT_TRUE(warns_of(comparison, "paired 4 completions of 2 tasks; the first has 9, the second 4"));
  b.outcomes[0].task_id = "U/1";
  b.outcomes[1].task_id = "U/0";
  EXPECT_THROW(compare_pair(a, b), Error);
}

TEST(Comparison, OfOtherSettingsOrProblemsWarns) {
  const EvaluationScore a = evaluation({{true}});
  EvaluationScore b = evaluation({{true}});
  b.spec.temperature = 0.2;
  b.benchmark.bytes[0] = 1;
  EXPECT_TRUE(warns_of(compare_pair(a, b), "different settings"));
  EXPECT_TRUE(warns_of(compare_pair(a, b), "different problem files"));
}

TEST(Comparison, MatchesEvaluationsByBenchmarkLanguageAndSettings) {
  EvaluationScore greedy = evaluation({{true}, {true}}), sampled = evaluation({{true}, {false}});
  sampled.spec.temperature = 0.2;
  const EvaluationScore java = evaluation({{false}, {true}}, "java");
  const std::vector<Comparison> comparisons =
      compare_all({artifact("base", Method::none, {greedy, sampled, java}),
                   artifact("a", Method::gptq, {java, sampled, greedy})});
  ASSERT_EQ(comparisons.size(), 3u);
  EXPECT_EQ(comparisons[0].evaluation_b, 2u);
  EXPECT_EQ(comparisons[1].evaluation_b, 1u);
  EXPECT_EQ(comparisons[2].evaluation_b, 0u);
  EXPECT_EQ(comparisons[2].language, "java");
  EXPECT_EQ(comparisons[0].family, "humaneval python against base, evaluation 1");
  for (const Comparison& comparison : comparisons) {
    EXPECT_TRUE(comparison.warnings.empty());
    EXPECT_EQ(comparison.pairs.only_a + comparison.pairs.only_b, 0u);
  }
}

class GradeFiles : public testing::Test {
 protected:
  std::string file(const std::string& name, const std::string& text) {
    const std::string path = TempDir() + "grade_files_" + name;
    std::ofstream(path) << text;
    return path;
  }
  std::string fault(const std::vector<std::string>& files) {
    try {
      read_grade_files(files);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input);
      return error.what();
    }
    return "no fault";
  }
};

TEST_F(GradeFiles, ArePairedByTaskAndOrderOfSamples) {
  const std::string a = file("a", R"({"task_id": "T/1", "passed": true, "isolated": true}
{"task_id": "T/0", "passed": false, "isolated": true}
{"task_id": "T/1", "passed": false, "isolated": true}
{"task_id": "T/0", "passed": true, "isolated": true}
)");
  const std::string b = file("b", R"({"task_id": "T/0", "passed": true, "isolated": true}
{"task_id": "T/0", "passed": true, "isolated": false}

{"task_id": "T/1", "passed": false, "isolated": true}
{"task_id": "T/1", "passed": false, "isolated": true})");
  const std::vector<ArtifactScore> scores = read_grade_files({a, b}, std::vector<std::uint32_t>{2});
  ASSERT_EQ(scores.size(), 2u);
  EXPECT_DOUBLE_EQ(scores[0].evaluations[0].pass_at_1, 0.5);
  EXPECT_DOUBLE_EQ(scores[0].evaluations[0].pass_at.at(0).value, 1.0);
  const std::vector<Comparison> comparisons = compare_all(scores);
  ASSERT_EQ(comparisons.size(), 1u);
  EXPECT_EQ(comparisons[0].pairs.only_a, 1u);
  EXPECT_EQ(comparisons[0].pairs.only_b, 1u);
  EXPECT_TRUE(warns_of(comparisons[0], "4 isolated against 3 isolated and 1 not isolated"));
}

TEST_F(GradeFiles, OtherConfinementWarns) {
  const std::string line = R"({"task_id": "T/0", "passed": true, "isolated": true, "confinement": )";
  const std::vector<Comparison> comparisons =
      compare_all(read_grade_files({file("c", line + "\"namespaces\"}"), file("d", line + "\"landlock\"}")}));
  EXPECT_TRUE(warns_of(comparisons.at(0), "1 namespaces, isolated against 1 landlock, isolated"));
}

TEST_F(GradeFiles, BadOnesAreNamedWithTheirLine) {
  const std::string good = file("good", "{\"task_id\": \"T/0\", \"passed\": true}\n");
  EXPECT_NE(fault({good, "/does/not/exist"}).find("/does/not/exist"), std::string::npos);
  EXPECT_NE(fault({good, file("empty", "\n")}).find("no verdicts"), std::string::npos);
  for (const char* bad : {"{\"task_id\": \"T/0\"}", "{\"task_id\": 1, \"passed\": true}", "nonsense",
                          "{\"task_id\": \"T/0\", \"passed\": \"yes\"}", "[]"}) {
    const std::string message =
        fault({good, file("bad", std::string("{\"task_id\": \"T/0\", \"passed\": true}\n") + bad)});
    EXPECT_NE(message.find("line 2"), std::string::npos) << message;
  }
  EXPECT_NE(
      fault({good,
             file("more",
                  "{\"task_id\": \"T/0\", \"passed\": true}\n{\"task_id\": \"T/1\", \"passed\": true}\n")})
          .find("lacks"),
      std::string::npos);
  EXPECT_NE(
      fault({good, file("other", "{\"task_id\": \"T/1\", \"passed\": true}\n")}).find("0 samples of T/0"),
      std::string::npos);
  EXPECT_NE(fault({good, file("java", "{\"task_id\": \"T/0\", \"language\": \"java\", \"passed\": true}\n")})
                .find("language"),
            std::string::npos);
}

}  // namespace
}  // namespace quench::coordinator
