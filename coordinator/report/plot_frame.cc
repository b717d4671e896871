#include "coordinator/report/plot_frame.h"

#include <fmt/format.h>

#include <cmath>

#include "coordinator/report/escape.h"

namespace quench::coordinator {

std::string PlotFrame::open(const std::string& label) const {
  return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", width, height,
                     html_text(label));
}

std::string PlotFrame::horizontal(double share, const std::string& number) const {
  return fmt::format(
      "<g class=\"grid\"><line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/><text x=\"{}\" y=\"{:.1f}\" "
      "text-anchor=\"end\">{}</text></g>\n",
      left, width - right, y(share), y(share), left - 8, y(share) + 4, html_text(number));
}

std::string PlotFrame::vertical(double share, const std::string& number) const {
  return fmt::format(
      "<g class=\"grid\"><line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/><text "
      "x=\"{0:.1f}\" "
      "y=\"{3:.1f}\" text-anchor=\"middle\">{4}</text></g>\n",
      x(share), y(0), y(1), y(0) + 18, html_text(number));
}

std::string PlotFrame::axis_titles(const std::string& x_title, const std::string& y_title) const {
  return fmt::format(
      "<text class=\"axis\" x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n"
      "<text class=\"axis\" transform=\"translate(16 {:.1f}) rotate(-90)\" "
      "text-anchor=\"middle\">{}</text>\n",
      x(0.5), height - 12, html_text(x_title), y(0.5), html_text(y_title));
}

double tick_step(double limit, int count) {
  if (!(limit > 0)) return 1;
  const double rough = limit / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= rough) return factor * power;
  return 10 * power;
}

}  // namespace quench::coordinator
