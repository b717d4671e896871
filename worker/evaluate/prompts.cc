#include "worker/evaluate/prompts.h"

#include "schemas/error.h"

namespace quench::worker {

std::string completion_prompt(Benchmark benchmark, const Problem& problem) {
  switch (benchmark) {
    case Benchmark::humaneval:
    case Benchmark::humaneval_plus:
    case Benchmark::multipl_e_humaneval:
    case Benchmark::multipl_e_mbpp:
    case Benchmark::mceval:
      return problem.prompt;
    case Benchmark::mbpp:
    case Benchmark::mbpp_sanitized:
    case Benchmark::mbpp_plus:
      if (!problem.evalplus_prompt.empty()) return problem.evalplus_prompt;
      return "\"\"\"\n" + problem.prompt + "\n" + problem.assertions.front() + "\n\"\"\"\n";
  }
  throw Error(ErrorCode::internal, "a benchmark without a prompt");
}

}  // namespace quench::worker
