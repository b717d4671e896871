// What a model is asked for a problem, in the form that the evaluation wants, and what ends its text. The
// composition of what is then executed is in answers.h. Any thread.
//
//   native      HumanEval, MultiPL-E and McEval are completed as they stand: imports, helpers, signature,
//   docstring,
//               byte for byte, trailing white space too. MBPP is asked as EvalPlus asks MBPP+: a docstring
//               with the sentence and the first assertion.
//   stripped    the same without white space at both ends, as the study of 2025 asks (Python's str.strip())
//   threeShot   MBPP as Austin et al. ask it (2108.07732): the tasks 2, 3 and 4 with their solutions, then
//   the
//               task; a task that is itself one of those gets the next one in its place
//   evalplus    stripped and one line feed, ended by EvalPlus's own stop strings; in a chat EvalPlus's
//   instruction
//               and its first words of the answer
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schemas/job_spec.h"
#include "worker/evaluate/problems.h"

namespace quench::worker {

// What a model is given.
struct Question {
  std::string text;  // to go on with; in a chat, what the user says
  std::string
      answer_start;  // in a chat: words laid into the model's mouth, which it goes on with. Often empty
  std::vector<std::string> stop_strings;
};

// Chat questions where `spec.chat` is not none. Throws Error(bad_input) where the problems have no such form.
Question question_for(const EvaluateSpec& spec, const ProblemSet& problems, const Problem& problem);

// The text that a completion goes on with: a Question's outside of chats.
std::string completion_prompt(const EvaluateSpec& spec, const ProblemSet& problems, const Problem& problem);
// The native form.
std::string completion_prompt(Benchmark benchmark, const Problem& problem);

// New tokens that fit into the evaluation's budget after a prompt of so many tokens; 0 when the prompt fills
// it.
std::uint32_t new_tokens_max(const EvaluateSpec& spec, std::size_t prompt_tokens);

// Without ASCII's white space at both ends.
std::string_view stripped(std::string_view text);

}  // namespace quench::worker
