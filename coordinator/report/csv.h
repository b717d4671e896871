// The report for other programs' tables: one line per artifact and evaluation, full precision, RFC 4180.
#pragma once

#include <string>

#include "coordinator/report/report.h"

namespace quench::coordinator {

// Columns are named in the first line; what does not exist (a comparison of the baseline, energy that was not
// measured) is an empty cell. A new column is only added at the end.
std::string report_to_csv(const JobReport& report);

}  // namespace quench::coordinator
