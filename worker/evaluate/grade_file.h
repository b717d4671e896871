// `quench grade`: a file of answers in, a file of verdicts out. No model. Any thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "schemas/job_spec.h"
#include "worker/evaluate/grader.h"

namespace quench::worker {

struct GradeFileReport {
  std::size_t lines = 0;
  std::size_t passed = 0;
  std::size_t tasks = 0;                   // that the benchmark has
  std::vector<std::string> missing_tasks;  // of them, those without a line, in the benchmark's order
  Digest problems;  // digest of the problem file used
  std::string confined_by;  // in words for people
  double seconds = 0;
};

// Reads `completions` (JSON lines, forms of DESIGN.md section 7), checks every line before anything
// runs, runs them, and publishes `out` by rename: one line for each input line, in order, the
// input's fields first, then passed, result, detail, cpu_ms, wall_ms, isolated, confinement. `problems` replaces
// the shipped problem file. Several lines for one task are samples. `on_progress(done, total)` comes from the
// sandboxes' threads, one at a time.
// With `settings`, the lines are kept completions (`quench artifacts completions`): "output", or "completion" where
// nothing was cut, goes through that evaluation's cut and composition again.
// Throws Error(bad_input) naming file, line and field; Error(failed) when `out` cannot be written.
GradeFileReport grade_file(Benchmark benchmark, Language language,
                           const std::optional<std::filesystem::path>& problems,
                           const std::filesystem::path& completions, const std::filesystem::path& out,
                           const GraderOptions& options,
                           const std::function<void(std::size_t, std::size_t)>& on_progress = {},
                           const EvaluateSpec* settings = nullptr);

}  // namespace quench::worker
