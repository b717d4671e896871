// Where a completion ends: a base model goes on after the function it was asked for, with the next
// function, a print, a test. The completion is what stands before the first stop string. Any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/job_spec.h"
#include "worker/evaluate/problems.h"

namespace quench::worker {

// The benchmark's stop strings: each begins a line at the left margin, so the body has ended.
std::span<const std::string_view> stop_strings(Benchmark benchmark);

// What ends a completion of this problem: what the prompt's form brings, or the problem file says, or else
// the benchmark's. McEval's Java says nothing. There a line that begins with a closing brace, or a main
// method, ends it; but nothing does where the cut is after the first function, as in the study of 2025.
std::vector<std::string> stop_strings(const EvaluateSpec& spec, const ProblemSet& problems,
                                      const Problem& problem);

// Offset of the earliest stop string in `text`, nothing when there is none. The scan starts at
// `from`: a decoder that has already searched a prefix of `scanned` bytes gives
// resume_offset(benchmark, scanned), because a stop string may straddle the two pieces.
std::optional<std::size_t> first_stop(Benchmark benchmark, std::string_view text, std::size_t from = 0);
std::size_t resume_offset(Benchmark benchmark, std::size_t scanned);

// `text` before its first stop string.
std::string_view cut_completion(Benchmark benchmark, std::string_view text);
std::string_view cut_completion(std::span<const std::string> stops, std::string_view text);

}  // namespace quench::worker
