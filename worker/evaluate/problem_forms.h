// The forms that benchmarks' authors publish their problems in, one JSON object for each task. Any thread.
#pragma once

#include <nlohmann/json.hpp>

#include "worker/evaluate/problems.h"

namespace quench::worker {

// Throws Error(bad_input) naming the field. Fields that grading has no use for are not looked at.
Problem parse_problem(Benchmark benchmark, Language language, const nlohmann::ordered_json& object);

}  // namespace quench::worker
