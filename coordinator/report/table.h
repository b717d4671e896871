// The report as a table for a terminal: what the bits cost.
#pragma once

#include <string>

#include "coordinator/scoring/scoreboard.h"

namespace quench::coordinator {

std::string report_to_table(const JobReport& report);
std::string comparisons_to_table(const std::vector<Comparison>& comparisons);

}  // namespace quench::coordinator
