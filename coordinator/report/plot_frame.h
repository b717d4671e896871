// What the pictures share: the box they draw in, its grid, and numbers for axes.
#pragma once

#include <string>

namespace quench::coordinator {

struct PlotFrame {
  double width = 720, height = 380;
  double left = 64, right = 24, top = 20, bottom = 56;

  double inner_width() const { return width - left - right; }
  double inner_height() const { return height - top - bottom; }
  // From a share of the box, (0, 0) at its lower left.
  double x(double share) const { return left + share * inner_width(); }
  double y(double share) const { return top + (1 - share) * inner_height(); }

  std::string open(const std::string& label) const;  // <svg …>
  // A grid line with its number, at a share of the box.
  std::string horizontal(double share, const std::string& number) const;
  std::string vertical(double share, const std::string& number) const;
  std::string axis_titles(const std::string& x_title, const std::string& y_title) const;
};

// 1, 2 or 5 times a power of ten: about `count` steps up to `limit`.
double tick_step(double limit, int count);

}  // namespace quench::coordinator
