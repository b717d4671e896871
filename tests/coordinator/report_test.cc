// The forms of a report: JSON that scripts rely on, a page without outside resources or injected markup.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "coordinator/report/html.h"
#include "coordinator/report/json.h"
#include "coordinator/report/plot.h"
#include "coordinator/report/tables.h"
#include "coordinator/report/words.h"
#include "tests/coordinator/sample_report.h"

namespace quench::coordinator {
namespace {

TEST(Report, JsonHasTheFormOfTheContract) {
  const nlohmann::json report = nlohmann::json::parse(report_to_json(sample_report()));
  EXPECT_EQ(report["artifacts"].size(), 3u);
  for (const char* key :
       {"name", "method", "bits", "digest", "bytes", "bits_per_weight", "seconds", "evaluations"})
    EXPECT_TRUE(report["artifacts"][1].contains(key)) << key;
  for (const char* key :
       {"benchmark", "language", "tasks", "samples", "pass_at_1", "ci_low", "ci_high", "digest"})
    EXPECT_TRUE(report["artifacts"][1]["evaluations"][0].contains(key)) << key;
  for (const char* key : {"a", "b", "benchmark", "only_a", "only_b", "odds_ratio", "p", "p_adjusted"})
    EXPECT_TRUE(report["comparisons"][0].contains(key)) << key;
  EXPECT_EQ(report["artifacts"][0]["method"], "none");
  EXPECT_TRUE(report["comparisons"][0]["odds_ratio"].is_null()) << "infinity is not JSON";
}

TEST(Report, PageIsSelfContainedAndEscapesNames) {
  const std::string page = report_to_html(sample_report());
  for (const char* outside : {"http:", "https:", "src=", "<link", "<script", "@import", "url("})
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
  EXPECT_NE(page.find("&lt;script&gt;"), std::string::npos);
  EXPECT_NE(page.find("a&amp;b"), std::string::npos);
  EXPECT_NE(page.find("<svg"), std::string::npos);
}

TEST(Report, LabelsOfNeighboursInThePlotDoNotCover) {
  JobReport report = sample_report();
  for (ArtifactScore& artifact : report.artifacts) {
    artifact.bytes = 3'000'000;
    artifact.evaluations[0].pass_at_1 = 1.0;
  }
  const std::string svg = plot_svg(report, 0);
  std::set<std::string> places;
  for (std::size_t at = svg.find("<circle"); at != std::string::npos; at = svg.find("<circle", at + 1)) {
    const std::size_t text = svg.find("<text", at);
    EXPECT_TRUE(places.insert(svg.substr(text, svg.find('>', text) - text)).second);
  }
  EXPECT_EQ(places.size(), 3u);
}

TEST(Report, TableSaysWhatThePairsSay) {
  const std::string table = report_to_summary(sample_report());
  EXPECT_NE(table.find("4/4"), std::string::npos);
  EXPECT_NE(table.find("2/0"), std::string::npos);
}

TEST(Report, NumbersReadAsTheStudyPrintsThem) {
  EXPECT_EQ(p_value(0.0412), ".041");
  EXPECT_EQ(p_value(6.1e-21), "6.1e-21");
  EXPECT_EQ(p_value(1.0), "1");
  EXPECT_EQ(megabytes(10'498'408), "10.50");
}

}  // namespace
}  // namespace quench::coordinator
