// The study's tables: published values from the shipped file, ours only where they belong.
#include "coordinator/report/study.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "coordinator/report/tables.h"
#include "coordinator/report/words.h"

namespace quench::coordinator {
namespace {

using Row = std::vector<std::string>;

EvaluationScore evaluation(const std::string& language, std::vector<bool> passed) {
  EvaluationScore score;
  score.spec.benchmark = "humaneval";
  score.spec.language = language;
  for (std::size_t task = 0; task < passed.size(); ++task)
    score.outcomes.push_back({"T/" + std::to_string(task), {passed[task]}});
  score_outcomes(score, {});
  return score;
}

JobReport report_of(const std::string& model, const std::string& calibration_file) {
  JobReport report;
  report.protocol = kStudyProtocol;
  for (const std::uint32_t bits : {16u, 4u, 2u}) {
    ArtifactScore& artifact = report.artifacts.emplace_back();
    artifact.name = bits == 16 ? "none" : "gptq-" + std::to_string(bits);
    artifact.model = model;
    artifact.method = bits == 16 ? Method::none : Method::gptq;
    artifact.bits = bits;
    artifact.bytes = 1'000'000'000ull * bits;
    artifact.calibration_spec.files = {calibration_file};
    if (bits < 16) artifact.calibration.bytes[0] = 1;
    artifact.evaluations.push_back(
        evaluation("python", {true, true, bits > 2, bits > 4, false, false, false, false, false, false}));
  }
  report.comparisons = compare_all(report.artifacts);
  return report;
}

const Row* find_row(const Table& table, const Row& begin) {
  for (const Row& row : table.rows)
    if (std::equal(begin.begin(), begin.end(), row.begin())) return &row;
  return nullptr;
}

TEST(Study, ShipsThePublishedValuesWithTheirSource) {
  const nlohmann::json study = nlohmann::json::parse(published_study());
  EXPECT_NE(study["source"].get<std::string>().find("2503.07103"), std::string::npos);
  EXPECT_EQ(study["precision"].size(), 28u);
  EXPECT_EQ(study["calibration"].size(), 8u);
  EXPECT_EQ(study["size"].size(), 12u);
  EXPECT_EQ(study["memory"].size(), 25u);
  // Every published odds ratio and p-value is what our tests give for the published pairs.
  for (std::size_t first = 0; first < 28; first += 7) {
    std::vector<double> p;
    for (std::size_t i = 1; i <= 4; ++i)
      p.push_back(
          mcnemar_exact({study["precision"][first + i]["lost"], study["precision"][first + i]["won"]}));
    const std::vector<double> adjusted = benjamini_hochberg(p);
    for (std::size_t i = 1; i <= 4; ++i) {
      const auto& row = study["precision"][first + i];
      EXPECT_EQ(p_value(adjusted[i - 1]), p_value(row["p_adjusted"])) << row.dump();
      EXPECT_EQ(odds(odds_ratio({row["lost"], row["won"]})), odds(row["odds_ratio"])) << row.dump();
    }
  }
}

TEST(Study, KnowsItsModelsByTheirNames) {
  EXPECT_EQ(study_model("/models/CodeLlama-7b-hf"), "CodeLlama-7B");
  EXPECT_EQ(study_model("/models/CodeLlama-34b-hf/"), "CodeLlama-34B");
  EXPECT_EQ(study_model("deepseek-coder-6.7b-base"), "DeepSeek-6.7B");
  EXPECT_EQ(study_model("deepseek-coder-1.3b-base"), "DeepSeek-1.3B");
  EXPECT_EQ(study_model("/models/CodeLlama-7b-Instruct-hf"), "");
  EXPECT_EQ(study_model("/models/CodeLlama-7b-Python-hf"), "");
  EXPECT_EQ(study_model("/models/CodeLlama-70b-hf"), "");
  EXPECT_EQ(study_model("tiny_coder"), "");
}

TEST(Study, KnowsACalibrationSetByItsFiles) {
  EXPECT_EQ(calibration_kind({{"/a/mixed_1.txt", "/a/mixed_2.txt"}}), "mixed");
  EXPECT_EQ(calibration_kind({{"/code/random.txt"}}), "random");
  EXPECT_EQ(calibration_kind({{"mixed.txt", "code.txt"}}), "");
  EXPECT_EQ(calibration_kind({{"code.txt", "text.txt"}}), "");
  EXPECT_EQ(calibration_kind({}), "");
}

TEST(Study, PutsOursBesideThePublishedValues) {
  const std::vector<Table> tables = study_tables(report_of("/models/CodeLlama-7b-hf", "random.txt"));
  ASSERT_EQ(tables.size(), 4u);
  const Row* four =
      find_row(tables[0], {"CodeLlama-7B", "python", "4 bits", "29.13", "154/132", "1.17", ".286"});
  ASSERT_NE(four, nullptr);
  EXPECT_EQ(Row(four->begin() + 7, four->end()), (Row{"gptq-4", "30.00", "1/0", "inf", "1"}));
  const Row* base = find_row(tables[0], {"CodeLlama-7B", "python", "fp16", "29.81"});
  ASSERT_NE(base, nullptr);
  EXPECT_EQ(Row(base->begin() + 7, base->end()), (Row{"none", "40.00", "-", "-", "-"}));
  // Another language, another precision, fine-tuning: not ours.
  for (const Row& begin :
       {Row{"CodeLlama-7B", "java", "4 bits"}, Row{"CodeLlama-7B", "python", "3 bits"},
        Row{"CodeLlama-7B", "python", "2 bits + FT"}, Row{"DeepSeek-6.7B", "python", "4 bits"}}) {
    const Row* row = find_row(tables[0], begin);
    ASSERT_NE(row, nullptr) << begin[2];
    EXPECT_EQ(Row(row->begin() + 7, row->end()), (Row{"-", "-", "-", "-", "-"})) << begin[2];
  }
  const Row* calibrated = find_row(tables[1], {"CodeLlama-7B", "python", "2"});
  ASSERT_NE(calibrated, nullptr);
  EXPECT_EQ(*calibrated, (Row{"CodeLlama-7B", "python", "2", "16.40", "23.91", "24.10", "20.00", "-", "-"}));
  EXPECT_EQ(find_row(tables[2], {"CodeLlama-7B", "python"})->back(), "-") << "not of mixed calibration";
  EXPECT_EQ(*find_row(tables[3], {"CodeLlama-7B", "4 bits"}),
            (Row{"CodeLlama-7B", "4 bits", "4.00", "4.00", "gptq-4"}));
}

TEST(Study, GivesSizesOfMixedCalibration) {
  const std::vector<Table> tables = study_tables(report_of("/models/deepseek-coder-33b-base", "mixed.txt"));
  EXPECT_EQ(*find_row(tables[2], {"DeepSeek-33B", "python"}),
            (Row{"DeepSeek-33B", "python", "8.8", "9.1", "20.0"}));
  // The published precision rows are of random calibration.
  EXPECT_EQ(find_row(tables[0], {"DeepSeek-33B", "python", "2 bits"})->at(3), "-");
}

TEST(Study, OtherModelsGetRowsOfTheirOwn) {
  const std::vector<Table> tables = study_tables(report_of("/models/tiny_coder", "text.txt"));
  EXPECT_EQ(
      *find_row(tables[0], {"tiny_coder", "python", "4 bits"}),
      (Row{"tiny_coder", "python", "4 bits", "-", "-", "-", "-", "gptq-4", "30.00", "1/0", "inf", "1"}));
  for (const Row& row : tables[0].rows)
    if (row[0] != "tiny_coder") {
      EXPECT_EQ(Row(row.begin() + 7, row.end()), (Row{"-", "-", "-", "-", "-"}));
    }
}

TEST(Study, IsPrintedWhenTheReportAsksForIt) {
  JobReport report = report_of("/models/tiny_coder", "text.txt");
  EXPECT_NE(report_to_text(report).find("RQ1: precision"), std::string::npos);
  EXPECT_NE(report_to_summary(report).find("RQ3: model size"), std::string::npos);
  report.protocol.clear();
  EXPECT_EQ(report_to_text(report).find("RQ1"), std::string::npos);
}

}  // namespace
}  // namespace quench::coordinator
