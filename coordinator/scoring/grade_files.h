// The output of `quench grade` as something to compare: outcomes by task and sample.
#pragma once

#include <string>
#include <vector>

#include "coordinator/scoring/scoreboard.h"

namespace quench::coordinator {

// One ArtifactScore per file, named by it, with one evaluation. Lines of one task are its samples in
// order. All files must hold the same tasks with the same number of samples each, so that pairs
// exist. Throws Error(bad_input) naming file, line and what differs.
std::vector<ArtifactScore> read_grade_files(const std::vector<std::string>& files);

}  // namespace quench::coordinator
