#include "coordinator/report/html.h"

#include <fmt/format.h>

#include <cerrno>
#include <fstream>

#include "coordinator/report/json.h"
#include "coordinator/report/plot.h"
#include "coordinator/report/table.h"
#include "coordinator/report/words.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

constexpr char kStyle[] = R"(
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5c6773; --line: #d5dbe1; --ground: #ffffff; --mark: #0b6bcb; --base: #b3541e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5b1; --line: #343c45; --ground: #14181c; --mark: #6cb2ff; --base: #f0a06a; } }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .5rem; }
p, caption { color: var(--soft); } .scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid var(--line); } th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { text-align: left; } code { font-size: .85em; }
svg { width: 100%; min-width: 34rem; max-width: 60rem; height: auto; margin-top: 1rem; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .grid line { stroke: var(--line); } svg .grid text, svg .axis { fill: var(--soft); }
svg .point line { stroke: var(--mark); stroke-width: 2; opacity: .5; } svg .point circle { fill: var(--mark); }
svg .baseline line { stroke: var(--base); } svg .baseline circle { fill: var(--base); }
summary { cursor: pointer; } details { margin: .5rem 0; }
)";

std::string row(const std::vector<std::string>& cells, const char* tag) {
  std::string text = "<tr>";
  for (const std::string& cell : cells) text += fmt::format("<{0}>{1}</{0}>", tag, cell);
  return text + "</tr>\n";
}

std::string score_table(const JobReport& report) {
  std::string text =
      "<div class=\"scroll\"><table>\n" + row({"artifact", "MB", "bits per weight", "mean loss", "seconds",
                                               "benchmark", "passed", "pass@1 %", "95 % interval", "digest"},
                                              "th");
  for (const ArtifactScore& artifact : report.artifacts) {
    const std::vector<std::string> head = {
        html_text(artifact.name), megabytes(artifact.bytes), fmt::format("{:.3f}", artifact.bits_per_weight),
        artifact.losses.empty() ? "" : fmt::format("{:.2e}", artifact.mean_relative_loss),
        fmt::format("{:.1f}", artifact.seconds)};
    const std::string digest = "<code>" + artifact.digest.short_hex() + "</code>";
    if (artifact.evaluations.empty()) {
      std::vector<std::string> cells = head;
      cells.insert(cells.end(), {"", "", "", "", digest});
      text += row(cells, "td");
    }
    for (const EvaluationScore& score : artifact.evaluations) {
      std::vector<std::string> cells = head;
      cells.insert(cells.end(),
                   {html_text(score.spec.benchmark),
                    fmt::format("{} of {}", score.passed, std::uint64_t{score.tasks} * score.samples),
                    percent(score.pass_at_1),
                    percent(score.interval.low) + " to " + percent(score.interval.high), digest});
      text += row(cells, "td");
    }
  }
  return text + "</table></div>\n";
}

std::string comparison_table(const JobReport& report) {
  std::string text =
      "<div class=\"scroll\"><table>\n" +
      row({"comparison", "benchmark", "only first", "only second", "odds ratio", "p", "p adjusted"}, "th");
  for (const Comparison& comparison : report.comparisons)
    text +=
        row({html_text(comparison.a) + " against " + html_text(comparison.b), html_text(comparison.benchmark),
             std::to_string(comparison.pairs.only_a), std::to_string(comparison.pairs.only_b),
             odds(comparison.odds_ratio), p_value(comparison.p), p_value(comparison.p_adjusted)},
            "td");
  return text + "</table></div>\n";
}

std::string loss_tables(const JobReport& report) {
  std::string text;
  for (const ArtifactScore& artifact : report.artifacts) {
    if (artifact.losses.empty()) continue;
    text += fmt::format("<details><summary>{}</summary><div class=\"scroll\"><table>\n",
                        html_text(artifact.name)) +
            row({"linear", "loss", "relative loss"}, "th");
    for (const LinearLoss& loss : artifact.losses)
      text += row({html_text(loss.tensor), fmt::format("{:.4e}", loss.loss),
                   fmt::format("{:.4e}", loss.relative_loss)},
                  "td");
    text += "</table></div></details>\n";
  }
  return text;
}

void write_file(const std::filesystem::path& path, const std::string& text) {
  const std::filesystem::path partial = path.string() + ".partial";
  {
    std::ofstream out(partial, std::ios::binary | std::ios::trunc);
    out << text << std::flush;
    if (!out) throw errno_error(ErrorCode::failed, "cannot write " + path.string(), errno);
  }
  std::filesystem::rename(partial, path);
}

}  // namespace

std::string report_to_html(const JobReport& report) {
  std::string page =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  page += fmt::format("<title>{} · Quench</title>\n<style>{}</style></head><body>\n",
                      html_text(report.job_name), kStyle);
  page += fmt::format("<h1>{}</h1>\n<p>What the bits cost: <code>{}</code> on {} ranks.</p>\n",
                      html_text(report.job_name), html_text(report.model), report.ranks);
  page += score_table(report);
  std::size_t evaluations = 0;
  for (const ArtifactScore& artifact : report.artifacts)
    evaluations = std::max(evaluations, artifact.evaluations.size());
  for (std::size_t i = 0; i < evaluations; ++i)
    page += fmt::format("<h2>{}: pass@1 against size</h2>\n",
                        html_text(report.artifacts.front().evaluations.at(i).spec.benchmark)) +
            "<div class=\"scroll\">" + plot_svg(report, i) + "</div>\n";
  if (!report.comparisons.empty())
    page +=
        "<h2>Paired comparisons</h2>\n<p>Exact McNemar test on paired completions; p adjusted by "
        "Benjamini–Hochberg within one benchmark.</p>\n" +
        comparison_table(report);
  const std::string losses = loss_tables(report);
  if (!losses.empty())
    page +=
        "<h2>Loss of every linear</h2>\n<p>tr(ΔHΔᵀ), and over tr(WHWᵀ); H is the calibration Hessian, or the "
        "identity for methods without calibration.</p>\n" +
        losses;
  return page + "</body></html>\n";
}

void write_html_report(const JobReport& report, const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw Error(ErrorCode::failed, "cannot make " + directory.string() + ": " + error.message());
  write_file(directory / "index.html", report_to_html(report));
  write_file(directory / "report.json", report_to_json(report) + "\n");
  write_file(directory / "report.txt", report_to_table(report));
}

}  // namespace quench::coordinator
