// The report as one self-contained HTML page: scores, pass@1 against size, paired comparisons, tasks that
// differ with both completions, losses per linear, memory, time and energy. No scripts, no outside resources
// (a Content-Security-Policy says so to the browser); light and dark; readable at 400 pixels.
#pragma once

#include <string>

#include "coordinator/report/report.h"

namespace quench::coordinator {

std::string report_to_html(const JobReport& report);

}  // namespace quench::coordinator
