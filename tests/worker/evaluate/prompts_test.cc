#include "worker/evaluate/prompts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "schemas/benchmarks.h"
#include "schemas/error.h"
#include "worker/evaluate/completion_cut.h"

namespace quench::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const ProblemSet& shipped(Benchmark benchmark, Language language = Language::python) {
  static std::map<std::pair<Benchmark, Language>, ProblemSet> sets;
  const auto found = sets.find({benchmark, language});
  if (found != sets.end()) return found->second;
  return sets.emplace(std::pair(benchmark, language), shipped_problems(benchmark, language)).first->second;
}

// Every benchmark in every language that it has.
std::vector<const ProblemSet*> all_shipped() {
  std::vector<const ProblemSet*> all;
  for (const Benchmark benchmark : all_benchmarks())
    for (const Language language : languages_of(benchmark)) all.push_back(&shipped(benchmark, language));
  return all;
}

TEST(Prompts, StrippedIsTheNativeOneWithoutWhiteSpaceAtItsEnds) {
  for (const ProblemSet* problems : all_shipped()) {
    for (const Problem& problem : problems->problems()) {
      const std::string native = completion_prompt(problems->benchmark(), problem);
      const std::string text = completion_prompt({.prompt_form = PromptStyle::stripped}, *problems, problem);
      ASSERT_FALSE(text.empty());
      EXPECT_EQ(std::string(" \t\r\n").find(text.front()), std::string::npos) << problem.task_id;
      EXPECT_EQ(std::string(" \t\r\n").find(text.back()), std::string::npos) << problem.task_id;
      EXPECT_THAT(native, HasSubstr(text)) << problem.task_id;
    }
  }
  EXPECT_EQ(stripped(" \n\t\v\f\r"), "");
  EXPECT_EQ(stripped("\n a b \n"), "a b");
}

TEST(Prompts, ThreeShotIsThatOfMbppsAuthors) {
  const ProblemSet& problems = shipped(Benchmark::mbpp);
  const EvaluateSpec spec{.benchmark = "mbpp", .prompt_form = PromptStyle::three_shot};
  const std::string text = completion_prompt(spec, problems, *problems.find("Mbpp/11"));
  EXPECT_TRUE(text.starts_with(
      "You are an expert Python programmer, and here is your task: Write a function to find the similar "
      "elements from "
      "the given two tuple lists. Your code should pass these tests:\n\n"
      "assert similar_elements((3, 4, 5, 6),(5, 7, 4, 10)) == (4, 5)\n"
      "assert similar_elements((1, 2, 3, 4),(5, 4, 3, 7)) == (3, 4)\n"
      "assert similar_elements((11, 12, 14, 13),(17, 15, 14, 13)) == (13, 14)\n"
      "[BEGIN]\ndef similar_elements(test_tup1, test_tup2):\n  res = tuple(set(test_tup1) & set(test_tup2))\n"
      "  return (res)\n[DONE]\n\nYou are an expert Python programmer, and here is your task: Write a python "
      "function to "
      "identify non-prime numbers."))
      << text;
  EXPECT_TRUE(text.ends_with(
      "[DONE]\n\nYou are an expert Python programmer, and here is your task: Write a python function to "
      "remove first "
      "and last occurrence of a given character from the string. Your code should pass these tests:\n\n"
      "assert remove_Occ(\"hello\",\"l\") == \"heo\"\nassert remove_Occ(\"abcda\",\"a\") == \"bcd\"\n"
      "assert remove_Occ(\"PHP\",\"P\") == \"H\"\n[BEGIN]\n"))
      << text;
  EXPECT_THAT(text, Not(HasSubstr("\r")));
  EXPECT_THAT(question_for(spec, problems, *problems.find("Mbpp/11")).stop_strings, ElementsAre("[DONE]"));
  // A task that is itself a shot does not get its own solution.
  const std::string shot = completion_prompt(spec, problems, *problems.find("Mbpp/3"));
  EXPECT_THAT(shot, Not(HasSubstr("for i in range(2,int(math.sqrt(n)) + 1)")));
  EXPECT_THAT(shot, HasSubstr("differ at one bit position"));
  EXPECT_NO_THROW(completion_prompt(spec, shipped(Benchmark::mbpp_sanitized),
                                    shipped(Benchmark::mbpp_sanitized).problems().front()));
}

TEST(Prompts, ThreeShotNeedsItsShots) {
  const ProblemSet one = parse_problems(
      Benchmark::mbpp, Language::python,
      R"json({"task_id": 11, "text": "t", "code": "c", "test_list": ["assert f(1)"], "test_setup_code": ""})json",
      "x");
  try {
    completion_prompt({.prompt_form = PromptStyle::three_shot}, one, one.problems().front());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_THAT(error.what(), HasSubstr("Mbpp/2, 3, 4 and 6"));
  }
}

TEST(Prompts, EvalPlusIsStrippedWithOneLineFeed) {
  const ProblemSet& problems = shipped(Benchmark::humaneval_plus);
  const EvaluateSpec spec{.benchmark = "humaneval+", .prompt_form = PromptStyle::evalplus};
  for (const Problem& problem : problems.problems()) {
    const std::string text = completion_prompt(spec, problems, problem);
    EXPECT_EQ(text, std::string(stripped(problem.prompt)) + "\n");
  }
  const Question question = question_for(spec, problems, problems.problems().front());
  EXPECT_TRUE(question.text.starts_with("from typing import List\n\n\ndef has_close_elements("));
  EXPECT_TRUE(question.text.ends_with("    \"\"\"\n"));
  EXPECT_THAT(question.stop_strings, testing::IsSupersetOf({"\ndef ", "\nassert ", "\nif __name__"}));
  // A whole answer begins with a def.
  const ProblemSet& mbpp = shipped(Benchmark::mbpp_plus);
  const Question whole = question_for({.prompt_form = PromptStyle::evalplus}, mbpp, mbpp.problems().front());
  EXPECT_EQ(whole.text,
            "\"\"\"\nWrite a function to find the shared elements from the given two lists.\n"
            "assert set(similar_elements((3, 4, 5, 6),(5, 7, 4, 10))) == set((4, 5))\n\"\"\"\n");
  EXPECT_THAT(whole.stop_strings, Not(testing::Contains("\ndef ")));
}

TEST(Prompts, ChatsAreAskedForOneCodeBlock) {
  const ProblemSet& problems = shipped(Benchmark::humaneval);
  const Problem& problem = problems.problems().front();
  EvaluateSpec spec{.chat = ChatTemplate::codellama_instruct};
  const Question own = question_for(spec, problems, problem);
  EXPECT_EQ(
      own.text,
      "Complete this function. Answer with the whole function in one markdown code block.\n\n```python\n" +
          std::string(stripped(problem.prompt)) + "\n```\n");
  EXPECT_EQ(own.answer_start, "");
  EXPECT_TRUE(own.stop_strings.empty());

  spec.prompt_form = PromptStyle::evalplus;
  const Question evalplus = question_for(spec, problems, problem);
  EXPECT_EQ(
      evalplus.text,
      "Please provide a self-contained Python script that solves the following problem in a markdown code "
      "block:\n```\n" +
          std::string(stripped(problem.prompt)) + "\n```\n");
  EXPECT_EQ(evalplus.answer_start,
            "Below is a Python script with a self-contained function that solves the problem and passes "
            "corresponding "
            "tests:\n```python\n");
  EXPECT_THAT(evalplus.stop_strings, ElementsAre("\n```\n"));

  const ProblemSet& mbpp = shipped(Benchmark::mbpp);
  const Question words =
      question_for({.chat = ChatTemplate::deepseek_coder_instruct}, mbpp, *mbpp.find("Mbpp/11"));
  EXPECT_THAT(words.text, HasSubstr("remove first and last occurrence"));
  EXPECT_THAT(words.text, HasSubstr("```python\nassert remove_Occ(\"hello\",\"l\") == \"heo\"\n"));
}

TEST(Prompts, TheBudgetCountsThePromptWhereItShould) {
  EvaluateSpec spec{.max_tokens = 1024};
  EXPECT_EQ(new_tokens_max(spec, 5000), 1024u);
  spec.token_budget = TokenBudget::including_prompt;
  EXPECT_EQ(new_tokens_max(spec, 0), 1024u);
  EXPECT_EQ(new_tokens_max(spec, 1023), 1u);
  EXPECT_EQ(new_tokens_max(spec, 1024), 0u);
  EXPECT_EQ(new_tokens_max(spec, std::size_t{1} << 40), 0u);
}

// Job files know the names from the schemas, the worker has the problems.
TEST(Benchmarks, HaveTheNamesAndLanguagesOfJobFiles) {
  ASSERT_EQ(benchmark_names().size(), all_benchmarks().size());
  for (std::size_t i = 0; i < benchmark_names().size(); ++i) {
    EXPECT_EQ(benchmark_names()[i].name, to_string(all_benchmarks()[i]));
    std::vector<std::string> languages;
    for (const Language language : languages_of(all_benchmarks()[i]))
      languages.emplace_back(to_string(language));
    EXPECT_EQ(benchmark_names()[i].languages, languages);
  }
}

TEST(StopStrings, ComeFromTheDataSet) {
  const auto stops = [](Benchmark benchmark, Language language, EvaluateSpec spec = {}) {
    const ProblemSet& problems = shipped(benchmark, language);
    return stop_strings(spec, problems, problems.problems().front());
  };
  EXPECT_THAT(stops(Benchmark::multipl_e_humaneval, Language::python),
              testing::UnorderedElementsAre("\ndef", "\n#", "\nif", "\nclass"));
  EXPECT_THAT(stops(Benchmark::multipl_e_humaneval, Language::java), ElementsAre("\n    }\n"));
  EXPECT_THAT(stops(Benchmark::multipl_e_mbpp, Language::java), ElementsAre("\n    }\n"));
  EXPECT_THAT(stops(Benchmark::mceval, Language::python),
              testing::UnorderedElementsAre("\ndef", "\n#", "\nif", "\nclass"));
  EXPECT_THAT(stops(Benchmark::mceval, Language::java), ElementsAre("\n}", "public static void main"));
  EXPECT_TRUE(stops(Benchmark::mceval, Language::java, {.cut = CompletionCut::first_function}).empty());
  EXPECT_EQ(stops(Benchmark::humaneval, Language::python).size(), 9u);
}

TEST(StopStrings, TheEarliestCuts) {
  const std::vector<std::string> stops = {"[DONE]", "\ndef"};
  EXPECT_EQ(cut_completion(stops, "a\ndef b[DONE]"), "a");
  EXPECT_EQ(cut_completion(stops, "a[DONE]\ndef b"), "a");
  EXPECT_EQ(cut_completion(stops, "a"), "a");
  EXPECT_EQ(cut_completion(std::vector<std::string>{}, "a"), "a");
}

}  // namespace
}  // namespace quench::worker
