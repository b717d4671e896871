// pass@1 against size as an SVG: one point per artifact with its interval. Colours come from the page's
// CSS variables, so that it reads in light and dark.
#pragma once

#include <string>

#include "coordinator/scoring/scoreboard.h"

namespace quench::coordinator {

// Of the `evaluation`-th evaluation of every artifact that has one. Empty when fewer than one has.
std::string plot_svg(const JobReport& report, std::size_t evaluation);
// & < > " ' as entities: names come from job files.
std::string html_text(const std::string& text);

}  // namespace quench::coordinator
