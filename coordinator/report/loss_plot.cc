#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "coordinator/report/escape.h"
#include "coordinator/report/plot.h"
#include "coordinator/report/plot_frame.h"

namespace quench::coordinator {
namespace {

// Styles of lines that the page defines: series-0 to series-5.
constexpr std::size_t kSeries = 6;
constexpr double kLegendWidth = 170, kLegendLine = 18;

}  // namespace

std::string loss_plot_svg(const JobReport& report) {
  double least = std::numeric_limits<double>::infinity(), most = 0;
  std::size_t linears = 0;
  for (const ArtifactScore& artifact : report.artifacts)
    for (const LinearLoss& loss : artifact.losses) {
      linears = std::max(linears, artifact.losses.size());
      if (!(loss.relative_loss > 0) || !std::isfinite(loss.relative_loss)) continue;
      least = std::min(least, loss.relative_loss);
      most = std::max(most, loss.relative_loss);
    }
  if (linears == 0 || most == 0) return {};
  const double low = std::floor(std::log10(least)), high = std::max(low + 1, std::ceil(std::log10(most)));
  PlotFrame frame;
  frame.right = kLegendWidth;
  const auto x = [&](std::size_t index) {
    return frame.x(linears == 1 ? 0.5 : static_cast<double>(index) / static_cast<double>(linears - 1));
  };
  const auto y = [&](double loss) { return frame.y((std::log10(loss) - low) / (high - low)); };

  std::string svg = frame.open("relative loss of every linear");
  for (double power = low; power <= high; ++power)
    svg += frame.horizontal((power - low) / (high - low), fmt::format("1e{:.0f}", power));
  svg += frame.axis_titles("linears, in the model's order", "relative loss");
  std::size_t series = 0;
  for (const ArtifactScore& artifact : report.artifacts) {
    if (artifact.losses.empty()) continue;
    std::string line;
    for (std::size_t i = 0; i < artifact.losses.size(); ++i) {
      const double loss = artifact.losses[i].relative_loss;
      if (loss > 0 && std::isfinite(loss))
        line += fmt::format("{}{:.1f},{:.1f}", line.empty() ? "" : " ", x(i), y(loss));
    }
    const double legend = frame.top + kLegendLine * static_cast<double>(series);
    svg += fmt::format(
        "<g class=\"series series-{}\"><title>{}</title><polyline points=\"{}\"/><line x1=\"{:.1f}\" "
        "x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/><text x=\"{:.1f}\" y=\"{:.1f}\">{}</text></g>\n",
        series % kSeries, html_text(artifact.name), line, frame.width - kLegendWidth + 12,
        frame.width - kLegendWidth + 36, legend, legend, frame.width - kLegendWidth + 42, legend + 4,
        html_text(artifact.name));
    ++series;
  }
  return svg + "</svg>\n";
}

}  // namespace quench::coordinator
