#include "worker/evaluate/prompts.h"

#include "schemas/error.h"

namespace quench::worker {

std::string completion_prompt(Benchmark benchmark, const Problem& problem) {
  switch (benchmark) {
    case Benchmark::humaneval:
      return problem.prompt;
  }
  throw Error(ErrorCode::internal, "a benchmark without a prompt");
}

}  // namespace quench::worker
