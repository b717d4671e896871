// The report as one self-contained HTML page: table, plot, comparisons, losses per linear. No scripts,
// no outside resources; light and dark; readable at 400 pixels.
#pragma once

#include <filesystem>
#include <string>

#include "coordinator/scoring/scoreboard.h"

namespace quench::coordinator {

std::string report_to_html(const JobReport& report);
// Writes DIR/index.html (by rename), DIR/report.json and DIR/report.txt. Throws Error(failed).
void write_html_report(const JobReport& report, const std::filesystem::path& directory);

}  // namespace quench::coordinator
