// A report written into a directory, in as many forms as are asked for.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "coordinator/report/report.h"

namespace quench::coordinator {

// text (report.txt), markdown (report.md), csv (report.csv), json (report.json), latex (report.tex), html
// (index.html).
const std::vector<std::string>& report_formats();

// Each file appears whole (by rename); all of them when `formats` is empty. Throws Error(bad_input) for an
// unknown format before anything is written, Error(failed) naming the file that could not be.
void write_report_files(const JobReport& report, const std::filesystem::path& directory,
                        const std::vector<std::string>& formats = {});

}  // namespace quench::coordinator
