// The pictures of the report's page as SVG. Colours come from the page's CSS classes, so that they read in
// light and dark; every mark has a title for the pointer and the picture a label for readers of the page's
// text.
#pragma once

#include <string>

#include "coordinator/report/report.h"

namespace quench::coordinator {

// pass@1 against size: one point per artifact with its interval, and the Pareto front through those that no
// other beats in both. Of the `evaluation`-th evaluation of the artifact that has most, and what the others
// have of the same benchmark and language. Empty when there is none.
std::string plot_svg(const JobReport& report, std::size_t evaluation);

// Relative loss of every linear in the model's order, one line per artifact, logarithmic. Empty without
// losses.
std::string loss_plot_svg(const JobReport& report);

// One bar per task: the share of its samples that `b` won (up) or lost (down) against `a`.
std::string task_plot_svg(const Comparison& comparison, const EvaluationScore& a, const EvaluationScore& b);

}  // namespace quench::coordinator
