#include "coordinator/report/html.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <string>

#include "coordinator/report/escape.h"
#include "coordinator/report/page_style.h"
#include "coordinator/report/plot.h"
#include "coordinator/report/study.h"
#include "coordinator/report/tables.h"
#include "coordinator/report/task_pairs.h"
#include "coordinator/report/words.h"

namespace quench::coordinator {
namespace {

// "sha256-…" as a Content-Security-Policy names an allowed style sheet.
std::string style_digest() {
  const Digest digest = sha256(kPageStyle);
  std::array<unsigned char, 4 * ((sizeof digest.bytes + 2) / 3) + 1> text{};
  const int length = EVP_EncodeBlock(text.data(), digest.bytes.data(), static_cast<int>(digest.bytes.size()));
  return "sha256-" +
         std::string(reinterpret_cast<const char*>(text.data()), static_cast<std::size_t>(length));
}

// The parts of the page, with the links to them.
class Page {
 public:
  void add(const std::string& id, const std::string& title, const std::string& body) {
    if (body.empty()) return;
    links_ += fmt::format("<a href=\"#{}\">{}</a>\n", id, html_text(title));
    body_ += fmt::format("<h2 id=\"{}\">{}</h2>\n{}", id, html_text(title), body);
  }
  std::string text(const std::string& title, const std::string& lead) const {
    return fmt::format(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '{}'; base-uri "
        "'none'; "
        "form-action 'none'\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<title>{} · Quench</title>\n<style>{}</style></head>\n<body>\n<header><h1>{}</h1>\n{}</header>\n"
        "<nav aria-label=\"Parts of the report\">\n{}</nav>\n<main>\n{}</main></body></html>\n",
        style_digest(), html_text(title), kPageStyle, html_text(title), lead, links_, body_);
  }

 private:
  std::string links_, body_;
};

std::string if_rows(const Table& table) { return table.rows.empty() ? std::string() : table_to_html(table); }

std::string scrolled(const std::string& svg) {
  return svg.empty() ? std::string() : "<div class=\"scroll\" tabindex=\"0\">" + svg + "</div>\n";
}

std::string size_plots(const JobReport& report) {
  std::size_t most = 0;
  const ArtifactScore* widest = nullptr;
  for (const ArtifactScore& artifact : report.artifacts)
    if (artifact.evaluations.size() > most) {
      most = artifact.evaluations.size();
      widest = &artifact;
    }
  std::string html;
  for (std::size_t i = 0; i < most; ++i) {
    const EvaluateSpec& spec = widest->evaluations[i].spec;
    html += fmt::format("<h3>{} {}</h3>\n", html_text(spec.benchmark), html_text(spec.language)) +
            scrolled(plot_svg(report, i));
  }
  if (!html.empty())
    html +=
        "<p class=\"note\">Whiskers: 95 % interval of pass@1. The dashed line is the Pareto front: no other "
        "artifact is both smaller and better than those on it.</p>\n";
  return html;
}

const ArtifactScore* find_artifact(const JobReport& report, const std::string& name) {
  const auto found = std::find_if(report.artifacts.begin(), report.artifacts.end(),
                                  [&](const ArtifactScore& artifact) { return artifact.name == name; });
  return found == report.artifacts.end() ? nullptr : &*found;
}

std::string task_differences(const JobReport& report) {
  std::string html;
  for (const Comparison& comparison : report.comparisons) {
    const ArtifactScore* a = find_artifact(report, comparison.a);
    const ArtifactScore* b = find_artifact(report, comparison.b);
    if (a == nullptr || b == nullptr) continue;
    const EvaluationScore& of_a = a->evaluations.at(comparison.evaluation_a);
    const EvaluationScore& of_b = b->evaluations.at(comparison.evaluation_b);
    const std::uint64_t differing = comparison.pairs.only_a + comparison.pairs.only_b;
    if (differing == 0) continue;
    html += fmt::format("<details><summary>{} against {}, {} {}: {} lost, {} won</summary>\n",
                        html_text(comparison.b), html_text(comparison.a), html_text(comparison.benchmark),
                        html_text(comparison.language), comparison.pairs.only_a, comparison.pairs.only_b) +
            scrolled(task_plot_svg(comparison, of_a, of_b)) + task_pairs_html(comparison, of_a, of_b) +
            "</details>\n";
  }
  if (!html.empty())
    html.insert(
        0,
        "<p class=\"note\">Completions of equal (task, sample) that only one of the two solved; from the "
        "first line on which they differ they are marked.</p>\n");
  return html;
}

std::string calibration(const JobReport& report) {
  std::string digests;
  for (const ArtifactScore& artifact : report.artifacts) {
    if (artifact.calibration.is_none()) continue;
    const std::string digest = artifact.calibration.hex();
    if (digests.find(digest) == std::string::npos) digests += (digests.empty() ? "" : ", ") + digest;
  }
  if (digests.empty()) return {};
  const CalibrationSpec& spec = report.calibration;
  std::string files;
  for (const std::string& file : spec.files) files += (files.empty() ? "" : ", ") + file;
  if (spec.is_set()) files = fmt::format("{} set {}", to_string(spec.kind), spec.set);
  return fmt::format(
      "<p>{} sequences of {} tokens, seed {}, from <code>{}</code>; digest of the windows "
      "<code>{}</code>.</p>\n",
      spec.sequences, spec.length, spec.seed, html_text(files), html_text(digests));
}

std::string losses(const JobReport& report) {
  std::string html = calibration(report) + scrolled(loss_plot_svg(report));
  for (const ArtifactScore& artifact : report.artifacts) {
    if (artifact.losses.empty()) continue;
    Table table;
    table.columns = {{"linear", true}, {"loss"}, {"relative loss"}};
    for (const LinearLoss& loss : artifact.losses)
      table.rows.push_back(
          {loss.tensor, fmt::format("{:.4e}", loss.loss), fmt::format("{:.4e}", loss.relative_loss)});
    html += fmt::format(
        "<details><summary>{}: {} linears, mean relative loss {:.3e}</summary>\n{}</details>\n",
        html_text(artifact.name), artifact.losses.size(), artifact.mean_relative_loss, table_to_html(table));
  }
  if (!html.empty())
    html +=
        "<p class=\"note\">tr(ΔHΔᵀ), and over tr(WHWᵀ); H is the calibration Hessian, or the identity for "
        "methods "
        "without calibration.</p>\n";
  return html;
}

}  // namespace

std::string report_to_html(const JobReport& report) {
  Page page;
  page.add("scores", "What the bits cost", if_rows(score_table(report)));
  page.add("activations", "Weights and activations of 8 bits", if_rows(activation_table(report)));
  page.add("size", "pass@1 against size", size_plots(report));
  page.add("pass-at-k", "pass@k", if_rows(pass_at_k_table(report.artifacts)));
  page.add("comparisons", "Paired comparisons", if_rows(comparison_table(report.comparisons)));
  page.add("tasks", "Tasks that differ", task_differences(report));
  page.add("losses", "Calibration and layer losses", losses(report));
  page.add("memory", "Memory", if_rows(memory_table(report)));
  page.add("energy", "Time and energy", if_rows(energy_table(report)));
  if (report.protocol == kStudyProtocol) {
    std::string study;
    for (const Table& table : study_tables(report))
      study += "<h3>" + html_text(table.title) + "</h3>\n" + table_to_html(table);
    page.add("study", "Beside the published study", study);
  }
  Table digests;
  digests.columns = {{"artifact", true}, {"method", true}, {"digest", true}};
  for (const ArtifactScore& artifact : report.artifacts)
    digests.rows.push_back({artifact.name, std::string(to_string(artifact.method)), artifact.digest.hex()});
  page.add("digests", "Digests", if_rows(digests));
  const std::string lead = fmt::format("<p class=\"lead\"><code>{}</code> on {} ranks</p>\n",
                                       html_text(report.model), report.ranks);
  return page.text(report.job_name.empty() ? "Report" : report.job_name, lead);
}

}  // namespace quench::coordinator
