// The text a model is given for a problem. Any thread.
#pragma once

#include <string>

#include "worker/evaluate/problems.h"

namespace quench::worker {

// HumanEval is completed as it stands: imports, helpers, signature, docstring, byte for byte.
// Trailing white space stays, for the published scores were made with it. So are MultiPL-E and McEval. MBPP is
// asked as EvalPlus asks MBPP+: a docstring with the sentence and the first assertion.
std::string completion_prompt(Benchmark benchmark, const Problem& problem);

}  // namespace quench::worker
