// What of a model's text is its answer, and the program that is made of it. The answer is what verdicts keep,
// so that it can be graded again without the model. Any thread; texts are hostile.
#pragma once

#include <string>
#include <string_view>

#include "schemas/job_spec.h"
#include "worker/evaluate/function_cut.h"
#include "worker/evaluate/grader.h"
#include "worker/evaluate/problems.h"

namespace quench::worker {

// A completion before its first stop string and, where the evaluation wants that, up to the end of its first
// complete function; a Java method's last brace stays away where the tests bring it. Of a chat the code in
// the answer.
std::string answer_in(const EvaluateSpec& spec, const ProblemSet& problems, const Problem& problem,
                      std::string_view generated);

// Whether a completion that is being generated holds all of its answer, where the evaluation cuts after the
// first function: answer_in() gives the same for it as for all that would come.
FunctionWatch watch_of(const EvaluateSpec& spec, const ProblemSet& problems, const Problem& problem);

// The answer as the grader takes it. A completion goes after the prompt that was asked; a chat's code after
// what comes before the function in the prompt (imports, helpers), as a solution of EvalPlus's form alone; in Java as
// java_answer.h says.
Submission submission_of(const EvaluateSpec& spec, const ProblemSet& problems, const Problem& problem,
                         std::string_view answer);

// What a verdict says beside its result where no token was generated; empty otherwise. Where the prompt fills
// the budget the study's completion is empty, and is executed all the same.
std::string empty_answer_note(const EvaluateSpec& spec, std::size_t tokens);

// How the evaluation's answers are executed, in so many sandboxes at once.
GraderOptions grader_options(const EvaluateSpec& spec, int sandboxes);

// The code in a chat's answer: the first block between ``` fences that defines a function or class, or else
// the first block, which may lack its closing fence; a text without any is code itself.
std::string code_block(Language language, std::string_view text);

}  // namespace quench::worker
