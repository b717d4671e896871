#include "coordinator/report/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "coordinator/report/escape.h"
#include "coordinator/report/plot_frame.h"
#include "coordinator/report/words.h"

namespace quench::coordinator {
namespace {

constexpr PlotFrame kFrame;

struct Point {
  std::string name;
  double megabytes;
  double score;
  Interval interval;
  bool baseline;
};

struct Box {
  double left, top, right, bottom;
  bool overlaps(const Box& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
};

// Where a point's label goes: beside it, under or over it, at the first place that is free of every point and
// of the labels before, and inside the picture.
Box place_label(const std::string& name, double px, double py, const std::vector<Box>& placed) {
  constexpr double kCharacter = 7, kHeightOfLine = 16, kGap = 10;
  const double width = kCharacter * static_cast<double>(text_width(name));
  Box best{};
  for (int step = 0; step < 12; ++step) {
    const double down = step / 3 * kHeightOfLine;
    const double left = step % 3 == 0 ? px + kGap : step % 3 == 1 ? px - kGap - width : px - width / 2;
    const double top = step % 3 == 2 ? py + kGap + down : py - kHeightOfLine / 2 + down;
    const Box box{left, top, left + width, top + kHeightOfLine};
    if (step == 0) best = box;
    const bool inside =
        box.left >= kFrame.left && box.right <= kFrame.width && box.bottom <= kFrame.height - kFrame.bottom;
    const bool is_free =
        std::none_of(placed.begin(), placed.end(), [&](const Box& other) { return box.overlaps(other); });
    if (inside && is_free) return box;
  }
  return best;
}

bool of_one_benchmark(const EvaluationScore& a, const EvaluationScore& b) {
  return a.spec.benchmark == b.spec.benchmark && a.spec.language == b.spec.language;
}

// The same evaluation of every artifact: the first of its benchmark and language stands for the first, and so
// on.
std::vector<Point> points_of(const JobReport& report, std::size_t evaluation) {
  const auto most = std::max_element(report.artifacts.begin(), report.artifacts.end(),
                                     [](const ArtifactScore& a, const ArtifactScore& b) {
                                       return a.evaluations.size() < b.evaluations.size();
                                     });
  std::vector<Point> points;
  if (most == report.artifacts.end() || evaluation >= most->evaluations.size()) return points;
  const EvaluationScore& reference = most->evaluations[evaluation];
  const auto before = std::count_if(
      most->evaluations.begin(), most->evaluations.begin() + static_cast<std::ptrdiff_t>(evaluation),
      [&](const EvaluationScore& one) { return of_one_benchmark(one, reference); });
  for (const ArtifactScore& artifact : report.artifacts) {
    auto skip = before;
    for (const EvaluationScore& score : artifact.evaluations) {
      if (!of_one_benchmark(score, reference) || skip-- > 0) continue;
      points.push_back({artifact.name, static_cast<double>(artifact.bytes) / 1e6, score.pass_at_1,
                        score.interval, artifact.method == Method::none});
      break;
    }
  }
  return points;
}

// The points that no other beats in size and score, by rising size.
std::vector<Point> pareto_front(std::vector<Point> points) {
  std::stable_sort(points.begin(), points.end(), [](const Point& a, const Point& b) {
    return a.megabytes != b.megabytes ? a.megabytes < b.megabytes : a.score > b.score;
  });
  std::vector<Point> front;
  for (const Point& point : points)
    if (front.empty() || point.score > front.back().score) front.push_back(point);
  return front;
}

}  // namespace

std::string plot_svg(const JobReport& report, std::size_t evaluation) {
  const std::vector<Point> points = points_of(report, evaluation);
  if (points.empty()) return {};
  double largest = 0;
  for (const Point& point : points) largest = std::max(largest, point.megabytes);
  const double step = tick_step(largest, 6);
  const double limit = std::max(step, std::ceil(largest * 1.05 / step) * step);
  const auto x = [&](double size) { return kFrame.x(size / limit); };
  const auto y = [&](double share) { return kFrame.y(share); };

  std::string svg = kFrame.open("pass@1 against size");
  for (int i = 0; i <= 5; ++i) svg += kFrame.horizontal(i / 5.0, std::to_string(i * 20));
  for (double size = 0; size <= limit + step / 2; size += step)
    svg += kFrame.vertical(size / limit, fmt::format("{:g}", size));
  svg += kFrame.axis_titles("size, MB", "pass@1, %");

  std::string line;
  const std::vector<Point> front = pareto_front(points);
  for (std::size_t i = 0; i < front.size(); ++i) {
    if (i > 0) line += fmt::format(" {:.1f},{:.1f}", x(front[i].megabytes), y(front[i - 1].score));
    line += fmt::format(" {:.1f},{:.1f}", x(front[i].megabytes), y(front[i].score));
  }
  svg +=
      "<polyline class=\"front\" points=\"" + line.substr(1) + "\"><title>Pareto front</title></polyline>\n";

  constexpr double kMarker = 6;  // half of what a point's circle takes
  std::vector<Box> placed;
  for (const Point& point : points) {
    const double px = x(point.megabytes), py = y(point.score);
    placed.push_back({px - kMarker, py - kMarker, px + kMarker, py + kMarker});
  }
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
