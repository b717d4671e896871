// `quench report` and `quench compare` on a real job's store: every form, what ranks measured, bad options.
#include <gtest/gtest.h>

#include "tests/integration/small_job.h"

namespace quench::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class ReportOfAJob : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = new ScratchDirectory;
    json job = small_job();
    job["quantize"] = {{{"method", "int8"}}, {{"method", "gptq"}, {"bits", 4}, {"groupSize", 32}}};
    job["evaluate"] = {
        {{"benchmark", "humaneval"}, {"maxTokens", 8}, {"tasks", 3}, {"samples", 2}, {"temperature", 0.8}}};
    write_text(*scratch_ / "job.json", job.dump());
    const Finished finished = run(run_arguments(*scratch_ / "job.json", *scratch_ / "store", 2));
    ASSERT_EQ(finished.exit_code, 0) << finished.err;
  }
  static void TearDownTestSuite() {
    delete scratch_;
    scratch_ = nullptr;
  }
  static Finished quench(const std::vector<std::string>& arguments) { return run_quench(arguments, *scratch_ / "store"); }
  static const ScratchDirectory* scratch_;
};
const ScratchDirectory* ReportOfAJob::scratch_ = nullptr;

const std::vector<std::string> kRefs = {"small/none", "small/int8", "small/gptq-4bit-g32-sym"};

std::vector<std::string> with_refs(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin() + 1, kRefs.begin(), kRefs.end());
  return arguments;
}

TEST_F(ReportOfAJob, HasEveryFormAndWhatTheRanksMeasured) {
  const fs::path out = *scratch_ / "report";
  const Finished finished =
      quench(with_refs({"report", "--k", "2", "--json", "--protocol", "giagnorio-2025", "--out", out}));
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  for (const char* file :
       {"index.html", "report.csv", "report.json", "report.md", "report.tex", "report.txt"})
    EXPECT_GT(fs::file_size(out / file), 500u) << file;
  EXPECT_EQ(read_text(out / "report.json"), finished.out);
  const json report = json::parse(finished.out);
  EXPECT_EQ(report["protocol_tables"].size(), 4u);
  std::uint64_t sum = 0;
  for (const json& artifact : report["artifacts"]) {
    sum += artifact["bytes"].get<std::uint64_t>();
    const json& evaluation = artifact["evaluations"][0];
    EXPECT_EQ(evaluation["completions"], 6);
    EXPECT_EQ(evaluation["pass_at"][1]["k"], 2);
    EXPECT_GT(artifact["quantize_usage"]["seconds"], 0.0);
    const json& usage = evaluation["usage"];
    EXPECT_GT(usage["seconds"], 0.0);
    EXPECT_GT(usage["peak_resident_bytes"], usage["weights_resident_bytes"]);
    // A machine without a readable counter says so and gives no number.
    EXPECT_EQ(usage["joules"].is_null(), usage["counters"].empty());
    EXPECT_EQ(usage["co2e_g"].is_null(), usage["joules"].is_null());
    if (usage["joules"].is_null()) {
      EXPECT_NE(usage["not_measured"].get<std::string>().find("RAPL"), std::string::npos) << usage;
    }
  }
  const auto resident = [&](int artifact) {
    return report["artifacts"][artifact]["evaluations"][0]["usage"]["weights_resident_bytes"]
        .get<std::uint64_t>();
  };
  EXPECT_GT(resident(0), resident(1)) << "packed weights are smaller in memory, too";
  EXPECT_GT(resident(1), resident(2));
  EXPECT_LT(report["job"]["distinct_bytes"], sum) << "tokenizer and embedding are shared";
  EXPECT_NE(read_text(out / "index.html").find("default-src 'none'"), std::string::npos);
}

TEST_F(ReportOfAJob, RefusesBadOptionsAndWritesNothing) {
  const fs::path out = *scratch_ / "refused";
  const auto refused = [&](std::vector<std::string> options, const std::string& told) {
    options.insert(options.begin(), "report");
    options.insert(options.end(), {"--out", out});
    const Finished finished = quench(with_refs(options));
    EXPECT_EQ(finished.exit_code, 2) << told;
    EXPECT_NE(finished.err.find(told), std::string::npos) << finished.err;
    EXPECT_EQ(finished.out, "");
    EXPECT_FALSE(fs::exists(out));
  };
  refused({"--k", "3"}, "1 to 2");
  refused({"--k", "0"}, "1 to 2");
  refused({"--format", "pdf"}, "text, markdown, csv, json, latex, html");
  refused({"--protocol", "giagnorio-2024"}, "giagnorio-2025");
}

TEST_F(ReportOfAJob, ComparesArtifactsWithEveryTest) {
  const Finished finished = quench(with_refs({"compare", "--json"}));
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  const json comparisons = json::parse(finished.out)["comparisons"];
  ASSERT_EQ(comparisons.size(), 2u);
  for (const json& one : comparisons) {
    EXPECT_EQ(one["a"], "small/none");
    EXPECT_EQ(one["pairs"], 6);
    EXPECT_EQ(one["tasks"], 3);
    EXPECT_EQ(one["warnings"], json::array());
    for (const char* key : {"only_a", "only_b", "odds_ratio", "p", "p_adjusted", "p_holm", "p_by_task",
                            "risk_difference", "detectable_difference", "family"})
      EXPECT_TRUE(one.contains(key)) << key;
  }
}

}  // namespace
}  // namespace quench::testing
