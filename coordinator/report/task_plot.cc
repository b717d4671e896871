#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "coordinator/report/escape.h"
#include "coordinator/report/plot.h"
#include "coordinator/report/plot_frame.h"

namespace quench::coordinator {

std::string task_plot_svg(const Comparison& comparison, const EvaluationScore& a, const EvaluationScore& b) {
  std::map<std::string, const TaskOutcomes*> of_b;
  for (const TaskOutcomes& task : b.outcomes) of_b[task.task_id] = &task;
  PlotFrame frame;
  frame.height = 200;
  frame.bottom = 44;
  std::string bars;
  const double width = frame.inner_width() / static_cast<double>(std::max<std::size_t>(1, a.outcomes.size()));
  for (std::size_t i = 0; i < a.outcomes.size(); ++i) {
    const TaskOutcomes& task = a.outcomes[i];
    const auto other = of_b.find(task.task_id);
    if (other == of_b.end()) continue;
    const std::size_t samples = std::min(task.passed.size(), other->second->passed.size());
    int won = 0, lost = 0;
    for (std::size_t sample = 0; sample < samples; ++sample) {
      won += !task.passed[sample] && other->second->passed[sample] ? 1 : 0;
      lost += task.passed[sample] && !other->second->passed[sample] ? 1 : 0;
    }
    const auto bar = [&](int count, bool up) {
      if (count == 0) return;
      const double tall = 0.5 * count / static_cast<double>(samples);
      bars += fmt::format(
          "<rect class=\"{}\" x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\"><title>{}: {} {} "
          "of {} "
          "samples</title></rect>\n",
          up ? "won" : "lost", frame.left + width * static_cast<double>(i),
          up ? frame.y(0.5 + tall) : frame.y(0.5), std::max(1.0, width * 0.9), tall * frame.inner_height(),
          html_text(task.task_id), up ? "won" : "lost", count, samples);
    };
    bar(won, true);
    bar(lost, false);
  }
  std::string svg = frame.open("tasks that " + comparison.b + " won and lost against " + comparison.a);
  svg += frame.horizontal(1, "won all") + frame.horizontal(0.5, "even") + frame.horizontal(0, "lost all");
  svg += fmt::format(
      "<text class=\"axis\" x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{} tasks, in their order</text>\n",
      frame.x(0.5), frame.height - 12, a.outcomes.size());
  return svg + bars + "</svg>\n";
}

}  // namespace quench::coordinator
