#include "worker/evaluate/answers.h"

#include <gtest/gtest.h>

#include "worker/evaluate/java_answer.h"
#include "worker/evaluate/prompts.h"

namespace quench::worker {
namespace {

const ProblemSet& humaneval() {
  static const ProblemSet problems = shipped_problems(Benchmark::humaneval);
  return problems;
}

// The first task is has_close_elements(numbers, threshold); its prompt imports List.
const Problem& first() { return humaneval().problems().front(); }

EvaluateSpec study(const char* benchmark, const char* language) {
  return {.benchmark = benchmark,
          .language = language,
          .prompt_form = PromptStyle::stripped,
          .cut = CompletionCut::first_function,
          .token_budget = TokenBudget::including_prompt};
}

TEST(Answers, NativeCompletionsEndAtStopStringsAndFollowTheProblemsPrompt) {
  const std::string generated = "    return False\n\ndef main():\n    pass\n";
  const std::string answer = answer_in({}, humaneval(), first(), generated);
  EXPECT_EQ(answer, "    return False\n");
  const Submission submission = submission_of({}, humaneval(), first(), answer);
  EXPECT_EQ(submission.form, SubmissionForm::completion);
  EXPECT_EQ(submission.text, answer);
  EXPECT_EQ(submission.problem, &first());
}

TEST(Answers, TheStudysPythonIsCutAfterTheFunctionAndRunsAsItWasAsked) {
  const ProblemSet problems = shipped_problems(Benchmark::multipl_e_humaneval);
  const Problem& problem = problems.problems().front();
  const EvaluateSpec spec = study("multipl-e-humaneval", "python");
  const std::string body = "\n    total = 0\n    # a note\n    return total";
  for (const char* rest :
       {"\n\nprint(f(1))\n", "\n\n\ndef g():\n    pass\n", "\nThat's all (I think.\n", "\n"})
    EXPECT_EQ(stripped(answer_in(spec, problems, problem, body + rest)), stripped(body)) << rest;
  const Submission submission = submission_of(spec, problems, problem, body);
  EXPECT_EQ(submission.form, SubmissionForm::solution);
  EXPECT_EQ(submission.text, std::string(stripped(problem.prompt)) + body);
}

TEST(Answers, MultiplEJavaLeavesTheMethodsBraceToItsTests) {
  const ProblemSet problems = shipped_problems(Benchmark::multipl_e_humaneval, Language::java);
  const Problem& problem = problems.problems().front();
  const EvaluateSpec spec = study("multipl-e-humaneval", "java");
  const std::string body =
      "\n        if (threshold > 1) {\n            return true;\n        }\n        return false;\n";
  // The data set's stop string knows one indentation, the cut knows all.
  for (const char* rest :
       {"    }\n\n    public static void main(String[] args) {\n", "\t}\n}\n", "    }", "}}"})
    EXPECT_EQ(stripped(answer_in(spec, problems, problem, body + rest)), stripped(body)) << rest;
  EXPECT_EQ(answer_in(spec, problems, problem, "\n        return (1"), "\n        return (1") << "cut short";
  const Submission submission = submission_of(spec, problems, problem, body);
  EXPECT_EQ(submission.text, std::string(stripped(problem.prompt)) + body);
}

TEST(Answers, McEvalJavaKeepsTheMethodsBrace) {
  const ProblemSet problems = shipped_problems(Benchmark::mceval, Language::java);
  const Problem& problem = problems.problems().front();
  const std::string body = " {\n        return 0.5;\n    }";
  const std::string rest = "\n\n    public static void main(String[] args) {\n        f();\n    }\n}\n";
  EXPECT_EQ(answer_in(study("mceval", "java"), problems, problem, body + rest), body);
  // By stop strings alone.
  const EvaluateSpec native{.benchmark = "mceval", .language = "java"};
  EXPECT_EQ(stripped(answer_in(native, problems, problem, body + rest)), stripped(body));
  EXPECT_EQ(answer_in(native, problems, problem, body + "\n}\nclass Other {}\n"), body);
}

TEST(Answers, MbppStandsAlone) {
  const ProblemSet problems = shipped_problems(Benchmark::mbpp);
  const Problem& problem = *problems.find("Mbpp/11");
  const EvaluateSpec spec{.benchmark = "mbpp", .prompt_form = PromptStyle::three_shot};
  const std::string code =
      "import re\ndef helper(s):\n    return s\ndef remove_Occ(s, ch):\n    return helper(s)\n";
  EXPECT_EQ(answer_in(spec, problems, problem, code + "[DONE]\n\nYou are"), code);
  EXPECT_EQ(submission_of(spec, problems, problem, code).text, code);
  EvaluateSpec cut = spec;
  cut.cut = CompletionCut::first_function;
  EXPECT_EQ(answer_in(cut, problems, problem, code + "print(1)\n[DONE]"), code.substr(0, code.size() - 1))
      << "up to the function that the tests call";
}

TEST(Answers, ChatsBringAWholeFunctionOrItsBody) {
  const EvaluateSpec spec{.chat = ChatTemplate::codellama_instruct};
  const std::string function =
      "def has_close_elements(numbers: List[float], threshold: float) -> bool:\n    return False\n";
  const std::string answer =
      answer_in(spec, humaneval(), first(), " Sure!\n```python\n" + function + "```\nIt works.");
  EXPECT_EQ(answer, function);
  EXPECT_EQ(submission_of(spec, humaneval(), first(), answer).text,
            "from typing import List\n\n\n" + function);
  EXPECT_EQ(submission_of(spec, humaneval(), first(), answer).form, SubmissionForm::solution);
  EXPECT_EQ(submission_of(spec, humaneval(), first(), "    return False\n").text,
            first().prompt + "    return False\n");
  const std::string future = "from __future__ import annotations\n" + function;
  EXPECT_EQ(submission_of(spec, humaneval(), first(), future).text, future);
}

// Some prompts define a function before the one that is asked for.
TEST(Answers, ChatsMayUseThePromptsHelpers) {
  const Problem& problem = *humaneval().find("HumanEval/38");  // decode_cyclic, after encode_cyclic
  const std::string function = "def decode_cyclic(s: str):\n    return encode_cyclic(encode_cyclic(s))\n";
  const std::string text =
      submission_of({.chat = ChatTemplate::codellama_instruct}, humaneval(), problem, function).text;
  EXPECT_NE(text.find("def encode_cyclic(s: str):"), std::string::npos);
  EXPECT_EQ(text.find("def decode_cyclic"), text.rfind("def decode_cyclic"))
      << "the prompt's own head is not there";
}

TEST(Answers, EvalPlusChatsGoOnInsideTheBlock) {
  const EvaluateSpec spec{.prompt_form = PromptStyle::evalplus,
                          .chat = ChatTemplate::deepseek_coder_instruct};
  const std::string code =
      "from typing import List\n\ndef has_close_elements(numbers, threshold):\n    return False\n";
  EXPECT_EQ(answer_in(spec, humaneval(), first(), code + "```\nThis is"), code);
  EXPECT_EQ(answer_in(spec, humaneval(), first(), code), code);
  // A served model does not see the words laid into its mouth and opens a block itself.
  EXPECT_EQ(answer_in(spec, humaneval(), first(), "Sure:\n```python\n" + code + "```\nThis is"), code);
  EXPECT_EQ(answer_in(spec, humaneval(), first(), "```python\n" + code + "```"), code);
  EXPECT_EQ(submission_of(spec, humaneval(), first(), code).text, code) << "alone, as EvalPlus runs it";
}

constexpr char kJavaPrompt[] =
    "import java.util.*;\nclass Problem {\n    public static long twice(long n) {\n        return 2 * n;\n    }\n"
    "    // Four times (n).\n    public static long four(long n) {\n";
constexpr char kJavaTests[] = "    }\n    public static void main(String[] args) {\n        assert four(2L) == 8L;\n    }\n}\n";

// What `code` becomes, without white space: what counts is which parts come in which order.
std::string java_program(std::string_view code, std::string_view prompt = kJavaPrompt, std::string_view tests = kJavaTests) {
  std::string program = java_chat_program(prompt, tests, code);
  std::erase_if(program, [](char c) { return c == ' ' || c == '\n'; });
  return program;
}

TEST(Answers, ChatsInJavaBringAClassMethodsOrABody) {
  const std::string head = "importjava.util.*;";
  const std::string twice = "publicstaticlongtwice(longn){return2*n;}";
  // A class, with a helper of its own, another type, a main method, and its end before the tests'.
  EXPECT_EQ(java_program("package p;\nimport java.io.*;\npublic class Helper {}\npublic class Solution {\n  static int calls;\n  Solution() {}\n"
                         "  static long four(long n) { if (n > 0) { return 4 * n; } return 0; }\n"
                         "  public static void main(String[] a) { four(1); }\n}\n"),
            head + "importjava.io.*;classHelper{}classProblem{" + twice + "staticintcalls;staticlongfour(longn){if(n>0){return4*n;}return0;");
  // Methods alone, one of them the prompt's again.
  EXPECT_EQ(java_program("static long twice(long n) { return n + n; }\nstatic long four(long n) { return twice(twice(n)); }"),
            head + "classProblem{staticlongtwice(longn){returnn+n;}staticlongfour(longn){returntwice(twice(n));");
  // The body, and what is no Java.
  EXPECT_TRUE(java_program("        return 4 * n;\n").ends_with("publicstaticlongfour(longn){return4*n;"));
  EXPECT_TRUE(java_program("I cannot do that.").ends_with("Icannotdothat."));
  EXPECT_TRUE(java_program(std::string(100'000, '{')).ends_with("{{{"));
  // Tests that stand beside the method, after a head that opens nothing.
  EXPECT_EQ(java_program("class Problem { Problem() {} long four(long n) { return 4 * n; } }",
                         "class Problem {\n  /** Four (times). */\n  long four(long n) ", "static void main(String[] a) {}\n}\n"),
            "classProblem{Problem(){}longfour(longn){return4*n;}");
}

TEST(Answers, JavaBlocksThatDefineSomethingComeFirst) {
  const std::string text = "Add this:\n```\nfour(2);\n```\nto\n```java\nclass Problem { long four(long n) { return 4 * n; } }\n```\n";
  EXPECT_EQ(code_block(Language::java, text), "class Problem { long four(long n) { return 4 * n; } }\n");
}

TEST(Answers, EmptyOnesAreExplained) {
  EvaluateSpec spec{.max_tokens = 1024};
  EXPECT_EQ(empty_answer_note(spec, 1), "");
  EXPECT_EQ(empty_answer_note(spec, 0), "nothing was generated: the model ended its text at once");
  spec.token_budget = TokenBudget::including_prompt;
  EXPECT_NE(empty_answer_note(spec, 0).find("fills the budget of 1024 tokens"), std::string::npos);
}

TEST(Answers, AreGradedByTheEvaluationsSettings) {
  const GraderOptions options =
      grader_options({.benchmark = "mceval", .language = "java", .timeout_seconds = 15}, 3);
  EXPECT_EQ(options.benchmark, Benchmark::mceval);
  EXPECT_EQ(options.language, Language::java);
  EXPECT_EQ(options.sandboxes, 3);
  EXPECT_EQ(options.limits.cpu_ms, 15'000u);
  EXPECT_EQ(grader_options({}, 1).limits.cpu_ms, SandboxLimits{}.cpu_ms);
}

}  // namespace
}  // namespace quench::worker
