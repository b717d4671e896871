#include "coordinator/report/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "coordinator/report/words.h"

namespace quench::coordinator {
namespace {

constexpr double kWidth = 720, kHeight = 380;
constexpr double kLeft = 64, kRight = 24, kTop = 20, kBottom = 56;

struct Point {
  std::string name;
  double megabytes;
  double score;
  Interval interval;
  bool baseline;
};

// 1, 2 or 5 times a power of ten: about `count` steps up to `limit`.
double tick_step(double limit, int count) {
  const double rough = limit / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= rough) return factor * power;
  return 10 * power;
}

struct Box {
  double left, top, right, bottom;
  bool overlaps(const Box& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
};

// Where a point's label goes: beside it, under or over it, at the first place that is free of the labels
// before and inside the picture.
Box place_label(const std::string& name, double px, double py, const std::vector<Box>& placed) {
  constexpr double kCharacter = 7, kHeightOfLine = 16, kGap = 10;
  const double width = kCharacter * static_cast<double>(name.size());
  Box best{};
  for (int step = 0; step < 12; ++step) {
    const double down = step / 3 * kHeightOfLine;
    const double left = step % 3 == 0 ? px + kGap : step % 3 == 1 ? px - kGap - width : px - width / 2;
    const double top = step % 3 == 2 ? py + kGap + down : py - kHeightOfLine / 2 + down;
    const Box box{left, top, left + width, top + kHeightOfLine};
    if (step == 0) best = box;
    const bool inside = box.left >= kLeft && box.right <= kWidth && box.bottom <= kHeight - kBottom;
    const bool is_free =
        std::none_of(placed.begin(), placed.end(), [&](const Box& other) { return box.overlaps(other); });
    if (inside && is_free) return box;
  }
  return best;
}

}  // namespace

std::string html_text(const std::string& text) {
  std::string out;
  for (const char character : text) switch (character) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += character;
    }
  return out;
}

std::string plot_svg(const JobReport& report, std::size_t evaluation) {
  std::vector<Point> points;
  for (const ArtifactScore& artifact : report.artifacts)
    if (evaluation < artifact.evaluations.size())
      points.push_back({artifact.name, static_cast<double>(artifact.bytes) / 1e6,
                        artifact.evaluations[evaluation].pass_at_1, artifact.evaluations[evaluation].interval,
                        artifact.method == Method::none});
  if (points.empty()) return {};
  double largest = 0;
  for (const Point& point : points) largest = std::max(largest, point.megabytes);
  const double step = tick_step(largest, 6);
  const double limit = std::ceil(largest * 1.05 / step) * step;
  const auto x = [&](double size) { return kLeft + size / limit * (kWidth - kLeft - kRight); };
  const auto y = [&](double share) { return kTop + (1 - share) * (kHeight - kTop - kBottom); };

  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"pass@1 against size\">\n<g class=\"grid\">\n",
      kWidth, kHeight);
  for (int i = 0; i <= 5; ++i)
    svg += fmt::format(
        "<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/><text x=\"{}\" y=\"{:.1f}\" "
        "text-anchor=\"end\">{}</text>\n",
        kLeft, kWidth - kRight, y(i / 5.0), y(i / 5.0), kLeft - 8, y(i / 5.0) + 4, i * 20);
  for (double size = 0; size <= limit + step / 2; size += step)
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/><text x=\"{0:.1f}\" "
        "y=\"{3:.1f}\" text-anchor=\"middle\">{4:g}</text>\n",
        x(size), y(0), y(1), y(0) + 18, size);
  svg +=
      fmt::format("</g>\n<text class=\"axis\" x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">size, MB</text>\n",
                  (kLeft + kWidth - kRight) / 2, kHeight - 12);
  svg += fmt::format(
      "<text class=\"axis\" transform=\"translate(16 {:.1f}) rotate(-90)\" text-anchor=\"middle\">pass@1, "
      "%</text>\n",
      (y(0) + y(1)) / 2);

  std::vector<Box> placed;
  for (const Point& point : points) {
    const double px = x(point.megabytes), py = y(point.score);
    const Box label = place_label(point.name, px, py, placed);
    placed.push_back(label);
    svg += fmt::format(
        "<g class=\"point{}\"><title>{}: {:.2f} MB, {} % ({} to {})</title>"
        "<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/><circle cx=\"{:.1f}\" cy=\"{:.1f}\" "
        "r=\"5\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text></g>\n",
        point.baseline ? " baseline" : "", html_text(point.name), point.megabytes, percent(point.score),
        percent(point.interval.low), percent(point.interval.high), px, px, y(point.interval.low),
        y(point.interval.high), px, py, label.left, label.bottom - 3, html_text(point.name));
  }
  return svg + "</svg>\n";
}

}  // namespace quench::coordinator
