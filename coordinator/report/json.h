// The JSON of `quench run --json`, `quench report --json` and `quench compare --json` (DESIGN.md
// section 7: scripts rely on its form).
#pragma once

#include <string>

#include "coordinator/scoring/scoreboard.h"

namespace quench::coordinator {

std::string report_to_json(const JobReport& report);
std::string comparisons_to_json(const std::vector<Comparison>& comparisons);

}  // namespace quench::coordinator
