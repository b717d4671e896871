// How much text a job's evaluations read and write, for `quench plan`: the prompts' tokens are known, the answers'
// are taken to be as long as the benchmark's own solutions.
#pragma once

#include <filesystem>

namespace quench::worker {

// Prints one line of JSON: for each evaluation of the job its completions, its tokens and its decoding steps. Returns
// the exit code; throws Error(bad_input) for a job or a tokenizer that cannot be read.
int print_evaluation_sizes(const std::filesystem::path& job_file);

}  // namespace quench::worker
