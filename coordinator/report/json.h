// The JSON of `quench run --json`, `quench report --json` and `quench compare --json` (scripts rely on its
// form: keys are added, never renamed).
#pragma once

#include <string>

#include "coordinator/report/report.h"

namespace quench::coordinator {

std::string report_to_json(const JobReport& report);
std::string comparisons_to_json(const std::vector<Comparison>& comparisons);

}  // namespace quench::coordinator
