#include "coordinator/report/task_pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/report/escape.h"

namespace quench::coordinator {
namespace {

struct Pair {
  std::string task_id;
  const Verdict* a;
  const Verdict* b;
};

// By (task id, sample), in the order of `a`: losses and gains alike.
std::vector<Pair> differing_pairs(const EvaluationScore& a, const EvaluationScore& b) {
  std::map<std::pair<std::string, std::uint32_t>, const Verdict*> of_b;
  for (const Verdict& verdict : b.verdicts)
    if (verdict.task < b.outcomes.size()) of_b[{b.outcomes[verdict.task].task_id, verdict.sample}] = &verdict;
  std::vector<Pair> pairs;
  for (const Verdict& verdict : a.verdicts) {
    if (verdict.task >= a.outcomes.size()) continue;
    const std::string& task_id = a.outcomes[verdict.task].task_id;
    const auto other = of_b.find({task_id, verdict.sample});
    if (other == of_b.end()) continue;
    if ((verdict.result == VerdictResult::passed) == (other->second->result == VerdictResult::passed))
      continue;
    pairs.push_back({task_id, &verdict, other->second});
  }
  return pairs;
}

std::string_view shortened(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  std::size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

std::string cut_note(std::size_t bytes, std::size_t bytes_max) {
  return bytes <= bytes_max ? std::string()
                            : fmt::format("<p class=\"note\">cut after {} of {} bytes</p>", bytes_max, bytes);
}

// How many leading bytes two texts share, up to the last end of a line.
std::size_t common_lines(std::string_view a, std::string_view b) {
  const auto [end, unused] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  const auto shared = static_cast<std::size_t>(end - a.begin());
  if (shared == a.size() && shared == b.size()) return shared;
  const std::size_t line = a.substr(0, shared).rfind('\n');
  return line == std::string_view::npos ? 0 : line + 1;
}

std::string side_html(const std::string& name, const Verdict& verdict, std::size_t alike) {
  const bool passed = verdict.result == VerdictResult::passed;
  const std::string_view text = shortened(verdict.completion, kCompletionBytesMax);
  alike = std::min(alike, text.size());
  std::string html = fmt::format(
      "<section><h4>{} <span class=\"verdict {}\">{}</span></h4>\n<p class=\"note\">{} tokens, {:.2f} s of "
      "processor "
      "time</p>\n<pre dir=\"ltr\" tabindex=\"0\">{}<mark>{}</mark></pre>\n{}",
      html_text(name), passed ? "pass" : "fail", html_text(to_string(verdict.result)), verdict.tokens,
      verdict.cpu_seconds, html_text(text.substr(0, alike)), html_text(text.substr(alike)),
      cut_note(verdict.completion.size(), kCompletionBytesMax));
  if (!verdict.detail.empty())
    html += fmt::format("<pre class=\"detail\" dir=\"ltr\" tabindex=\"0\">{}</pre>\n{}",
                        html_text(shortened(verdict.detail, kDetailBytesMax)),
                        cut_note(verdict.detail.size(), kDetailBytesMax));
  return html + "</section>\n";
}

}  // namespace

std::string task_pairs_html(const Comparison& comparison, const EvaluationScore& a,
                            const EvaluationScore& b) {
  const std::vector<Pair> pairs = differing_pairs(a, b);
  if (pairs.empty()) return {};
  std::string html;
  const std::size_t shown = std::min(pairs.size(), kPairsShownMax);
  for (std::size_t i = 0; i < shown; ++i) {
    const Pair& pair = pairs[i];
    const bool lost = pair.a->result == VerdictResult::passed;
    const std::size_t alike = common_lines(pair.a->completion, pair.b->completion);
    html += fmt::format(
        "<details><summary>{}, sample {}: <span class=\"verdict {}\">{}</span></summary>\n<div "
        "class=\"pair\">\n",
        html_text(pair.task_id), pair.a->sample, lost ? "fail" : "pass", lost ? "lost" : "won");
    html += side_html(comparison.a, *pair.a, alike) + side_html(comparison.b, *pair.b, alike);
    html += "</div></details>\n";
  }
  if (shown < pairs.size())
    html += fmt::format("<p class=\"note\">{} of {} pairs that differ are shown.</p>\n", shown, pairs.size());
  return html;
}

}  // namespace quench::coordinator
