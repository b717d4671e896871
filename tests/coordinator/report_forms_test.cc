// The forms of a report's text: what each language needs escaped, and pages that show what models wrote.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "coordinator/report/csv.h"
#include "coordinator/report/escape.h"
#include "coordinator/report/files.h"
#include "coordinator/report/html.h"
#include "coordinator/report/plot.h"
#include "coordinator/report/tables.h"
#include "coordinator/report/task_pairs.h"
#include "schemas/error.h"
#include "tests/coordinator/sample_report.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

// sample_report() with completions that try to become part of the page.
JobReport report_with_completions() {
  JobReport report = sample_report();
  for (ArtifactScore& artifact : report.artifacts) {
    EvaluationScore& score = artifact.evaluations[0];
    for (std::uint32_t task = 0; task < score.outcomes.size(); ++task) {
      Verdict& verdict = score.verdicts.emplace_back();
      verdict.task = task;
      verdict.result = score.outcomes[task].passed[0] ? VerdictResult::passed : VerdictResult::failed;
      verdict.completion = "    return 1\n</pre><script>alert('" + artifact.name +
                           "')</script><img src=x onerror=\"alert(1)\">";
      verdict.detail = "\"><svg onload=alert(2)>\x1b[31m\x01\xff";
    }
  }
  return report;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(Escape, KeepsTextAndNamesWhatIsNone) {
  EXPECT_EQ(readable_text("a\tb\nc é 語 😀"), "a\tb\nc é 語 😀");
  EXPECT_EQ(readable_text("\x1b[31m"), "\uFFFD[31m") << "a terminal would obey it";
  EXPECT_EQ(readable_text(std::string_view("\0", 1)), "\uFFFD");
  EXPECT_EQ(readable_text("\xc2\x9b"), "\uFFFD") << "a C1 control";
  // Overlong, surrogate, beyond Unicode, cut off, a lone continuation.
  EXPECT_EQ(readable_text("\xc0\xaf"), "\uFFFD\uFFFD");
  EXPECT_EQ(readable_text("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(readable_text("\xf4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(readable_text("\xe8\xaa"), "\uFFFD\uFFFD");
  EXPECT_EQ(readable_text("\x80z"), "\uFFFDz");
}

TEST(Escape, SpeaksEveryLanguage) {
  EXPECT_EQ(html_text("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
  EXPECT_EQ(markdown_text("a|b\n*c* <d> `e`"), "a\\|b \\*c\\* \\<d\\> \\`e\\`");
  EXPECT_EQ(latex_text("a_b & 50% of #1 {x} \\y ~ ^ $"),
            "a\\_b \\& 50\\% of \\#1 \\{x\\} \\textbackslash{}y \\textasciitilde{} \\textasciicircum{} \\$");
  EXPECT_EQ(csv_text("plain"), "plain");
  EXPECT_EQ(csv_text("a,\"b\"\nc"), "\"a,\"\"b\"\"\nc\"");
  EXPECT_EQ(csv_text("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"") << "not a formula";
  EXPECT_EQ(text_width("né語"), 3u);
}

TEST(ReportPage, ShowsWhatModelsWroteAndRunsNoneOfIt) {
  const std::string page = report_to_html(report_with_completions());
  // Only what the page itself writes begins a tag.
  EXPECT_EQ(count(page, "<script"), 0u);
  EXPECT_EQ(count(page, "<img"), 0u);
  EXPECT_EQ(count(page, "<svg onload"), 0u);
  EXPECT_EQ(count(page, "</pre><script"), 0u);
  EXPECT_NE(page.find("&lt;/pre&gt;&lt;script&gt;alert(&#39;gptq-2&#39;)&lt;/script&gt;"), std::string::npos);
  EXPECT_EQ(page.find('\x1b'), std::string::npos);
  EXPECT_EQ(page.find('\x01'), std::string::npos);
  EXPECT_EQ(readable_text(page), page) << "UTF-8 throughout";
  // Were something missed, the browser is told to run and load nothing.
  EXPECT_NE(page.find("default-src 'none'; style-src 'sha256-"), std::string::npos);
  EXPECT_EQ(count(page, "style=\""), 0u) << "no style beside the one whose digest is allowed";
}

TEST(ReportPage, PutsBothCompletionsOfADifferingTaskSideBySide) {
  const JobReport report = report_with_completions();
  const std::string html = task_pairs_html(report.comparisons[1], report.artifacts[0].evaluations[0],
                                           report.artifacts[2].evaluations[0]);
  EXPECT_EQ(count(html, "class=\"pair\""), 2u);
  EXPECT_NE(html.find("T/2, sample 0"), std::string::npos);
  EXPECT_NE(html.find("T/3, sample 0"), std::string::npos);
  EXPECT_EQ(html.find("T/0,"), std::string::npos) << "both solved it";
  EXPECT_EQ(count(html, ">passed</span>"), 2u);
  EXPECT_EQ(count(html, ">failed</span>"), 2u);
  // The first line is alike and not marked.
  EXPECT_NE(html.find("    return 1\n<mark>&lt;/pre&gt;"), std::string::npos);
}

TEST(ReportPage, CutsWhatIsTooLongAndSaysSo) {
  JobReport report = report_with_completions();
  for (ArtifactScore& artifact : report.artifacts)
    for (Verdict& verdict : artifact.evaluations[0].verdicts)
      verdict.completion = std::string(kCompletionBytesMax - 1, 'x') + "é" + artifact.name;
  const std::string html = task_pairs_html(report.comparisons[0], report.artifacts[0].evaluations[0],
                                           report.artifacts[1].evaluations[0]);
  EXPECT_NE(html.find("cut after 8192 of"), std::string::npos);
  EXPECT_EQ(readable_text(html), html) << "not cut within a character";
}

TEST(ReportPlots, DrawTheFrontThroughWhatNothingBeats) {
  JobReport report = sample_report();
  report.artifacts[1].bytes = report.artifacts[2].bytes + 10;
  report.artifacts[1].evaluations[0].pass_at_1 = report.artifacts[2].evaluations[0].pass_at_1;
  const std::string svg = plot_svg(report, 0);
  const std::size_t at = svg.find("class=\"front\" points=\"") + 22;
  // From the smallest to the baseline by one corner; the second artifact is larger and no better.
  EXPECT_EQ(count(svg.substr(at, svg.find('"', at) - at), ","), 3u);
}

TEST(ReportPlots, DrawLossesAndTasks) {
  const JobReport report = report_with_completions();
  EXPECT_EQ(count(loss_plot_svg(report), "<polyline"), 2u);
  const std::string tasks = task_plot_svg(report.comparisons[1], report.artifacts[0].evaluations[0],
                                          report.artifacts[2].evaluations[0]);
  EXPECT_EQ(count(tasks, "class=\"lost\""), 2u);
  EXPECT_EQ(count(tasks, "class=\"won\""), 0u);
}

TEST(ReportText, HoldsEveryTable) {
  const std::string text = report_to_text(sample_report());
  for (const char* part :
       {"What the bits cost", "Paired comparisons", "Memory", "humaneval python against none"})
    EXPECT_NE(text.find(part), std::string::npos) << part;
  for (std::size_t at = 0; at < text.size(); ++at) EXPECT_NE(text[at], '\x1b');
  const std::string markdown = report_to_markdown(sample_report());
  EXPECT_NE(markdown.find("# \\<script\\>alert(1)\\</script\\>"), std::string::npos);
  EXPECT_NE(markdown.find("| artifact | MB |"), std::string::npos);
  const std::string latex = report_to_latex(sample_report());
  EXPECT_EQ(count(latex, "\\begin{table}"), count(latex, "\\end{table}"));
  EXPECT_NE(latex.find("pass@1 \\%"), std::string::npos);
}

TEST(ReportCsv, HasOneLineForEachArtifactAndEvaluation) {
  JobReport report = sample_report();
  report.artifacts[1].name = "=1+1,\"x\"";
  report.artifacts[2].evaluations[0].pass_at = {{2, 0.75, {0.5, 1}}};
  std::istringstream lines(report_to_csv(report));
  std::vector<std::string> all;
  for (std::string line; std::getline(lines, line);) all.push_back(line);
  ASSERT_EQ(all.size(), 4u);
  const auto commas = [](const std::string& line) { return std::count(line.begin(), line.end(), ','); };
  EXPECT_EQ(all[0].back(), '\r');
  EXPECT_EQ(commas(all[1]), commas(all[0]));
  EXPECT_EQ(commas(all[3]), commas(all[0]));
  EXPECT_EQ(all[2].rfind("\"'=1+1,\"\"x\"\"\",gptq", 0), 0u) << all[2];
  EXPECT_NE(all[0].find(",pass_at_2,pass_at_2_low,pass_at_2_high"), std::string::npos);
  EXPECT_NE(all[3].find(",0.75,0.5,1\r"), std::string::npos);
}

TEST(ReportFiles, AreThoseAskedFor) {
  const fs::path directory = fs::path(testing::TempDir()) / "quench_report_files";
  fs::remove_all(directory);
  EXPECT_THROW(write_report_files(sample_report(), directory, {"pdf"}), Error);
  EXPECT_FALSE(fs::exists(directory)) << "nothing half-published";
  write_report_files(sample_report(), directory, {"csv", "latex"});
  EXPECT_TRUE(fs::exists(directory / "report.csv"));
  EXPECT_TRUE(fs::exists(directory / "report.tex"));
  EXPECT_FALSE(fs::exists(directory / "index.html"));
  write_report_files(sample_report(), directory);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"index.html", "report.csv", "report.json", "report.md",
                                             "report.tex", "report.txt"}));
  fs::remove_all(directory);
}

}  // namespace
}  // namespace quench::coordinator
