// The output of `quench grade` as something to compare: outcomes by task and sample.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "coordinator/scoring/scoreboard.h"

namespace quench::coordinator {

// One ArtifactScore per file, named by it, with one evaluation and pass@k for every k of `ks`. Lines of one
// task are its samples in order. All files must be of one language and hold the same tasks with the same
// number of samples each, so that pairs exist. Throws Error(bad_input) naming file, line and what differs.
std::vector<ArtifactScore> read_grade_files(const std::vector<std::string>& files,
                                            std::span<const std::uint32_t> ks = {});

}  // namespace quench::coordinator
