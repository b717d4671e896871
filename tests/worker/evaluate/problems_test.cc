#include "worker/evaluate/problems.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schemas/error.h"
#include "worker/evaluate/gzip.h"
#include "worker/evaluate/json_lines.h"

namespace quench::worker {
namespace {

using testing::HasSubstr;

std::string error_of(const std::string& text, Benchmark benchmark = Benchmark::humaneval,
                     Language language = Language::python) {
  try {
    parse_problems(benchmark, language, text, "problems.jsonl");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    return error.what();
  }
  return "no error";
}

std::string line(const std::string& task_id, const std::string& entry_point = "f") {
  return R"({"task_id": ")" + task_id + R"(", "prompt": "def f():\n", "entry_point": ")" + entry_point +
         R"(", "canonical_solution": "    pass\n", "test": "def check(candidate):\n    pass\n"})" + "\n";
}

TEST(Problems, ShippedHumanEvalHas164TasksInOrder) {
  const ProblemSet problems = shipped_problems(Benchmark::humaneval);
  ASSERT_EQ(problems.problems().size(), 164u);
  for (std::size_t i = 0; i < 164; ++i) EXPECT_EQ(problems.problems()[i].task_id, "HumanEval/" + std::to_string(i));
  EXPECT_EQ(problems.find("HumanEval/163")->entry_point, "generate_integers");
  EXPECT_EQ(problems.find("HumanEval/164"), nullptr);
  EXPECT_EQ(problems.digest(), sha256_file(QUENCH_SOURCE_DIR "/worker/evaluate/data/HumanEval.jsonl"));
}

struct Shipped {
  const char* benchmark;
  Language language;
  std::size_t tasks;
  const char* first;
  const char* last;
};

// The counts that the benchmarks' authors publish, and every field that grading and prompts need.
TEST(Problems, EveryShippedFileIsWhole) {
  const std::vector<Shipped> all{
      {"humaneval", Language::python, 164, "HumanEval/0", "HumanEval/163"},
      {"humaneval+", Language::python, 164, "HumanEval/0", "HumanEval/163"},
      {"mbpp", Language::python, 974, "Mbpp/1", "Mbpp/974"},
      {"mbpp-sanitized", Language::python, 427, "Mbpp/2", "Mbpp/809"},
      {"mbpp+", Language::python, 378, "Mbpp/2", "Mbpp/809"},
      {"multipl-e-humaneval", Language::python, 161, "HumanEval_23_strlen", "HumanEval_56_correct_bracketing"},
      {"multipl-e-humaneval", Language::java, 158, "HumanEval_0_has_close_elements", "HumanEval_163_generate_integers"},
      {"multipl-e-mbpp", Language::python, 397, "", ""},
      {"multipl-e-mbpp", Language::java, 386, "", ""},
      {"mceval", Language::python, 42, "Python-7", "Python-50"},
      {"mceval", Language::java, 53, "Java-1", "Java-53"},
  };
  std::size_t files = 0;
  for (const Benchmark benchmark : all_benchmarks()) files += languages_of(benchmark).size();
  EXPECT_EQ(files, all.size());
  for (const Shipped& expected : all) {
    SCOPED_TRACE(std::string(expected.benchmark) + " " + std::string(to_string(expected.language)));
    const ProblemSet set = shipped_problems(benchmark_from_string(expected.benchmark), expected.language);
    ASSERT_EQ(set.problems().size(), expected.tasks);
    EXPECT_EQ(to_string(set.benchmark()), expected.benchmark);
    EXPECT_EQ(set.language(), expected.language);
    if (*expected.first != '\0') {
      EXPECT_EQ(set.problems().front().task_id, expected.first);
      EXPECT_EQ(set.problems().back().task_id, expected.last);
    }
    for (const Problem& problem : set.problems()) {
      EXPECT_FALSE(problem.prompt.empty() || problem.test.empty()) << problem.task_id;
      EXPECT_EQ(problem.test_form == TestForm::java_class, expected.language == Language::java);
      const bool is_mbpp = std::string_view(expected.benchmark).starts_with("mbpp");
      EXPECT_EQ(problem.prompt_form == PromptForm::words, is_mbpp) << problem.task_id;
      EXPECT_EQ(problem.assertions.empty(), !is_mbpp) << problem.task_id;
      EXPECT_EQ(problem.evalplus_prompt.empty(), set.benchmark() != Benchmark::mbpp_plus) << problem.task_id;
    }
  }
}

TEST(Problems, LanguagesOfABenchmarkAreChecked) {
  EXPECT_EQ(language_from_string("java"), Language::java);
  EXPECT_THROW(language_from_string("Java"), Error);
  EXPECT_THROW(require_language(Benchmark::mbpp_plus, Language::java), Error);
  EXPECT_NO_THROW(require_language(Benchmark::mceval, Language::java));
  EXPECT_THAT(error_of(line("a"), Benchmark::humaneval, Language::java),
              HasSubstr("humaneval has no problems in java; it has: python"));
}

TEST(Problems, BenchmarkNamesAreChecked) {
  EXPECT_EQ(benchmark_from_string("humaneval"), Benchmark::humaneval);
  EXPECT_EQ(to_string(Benchmark::humaneval_plus), "humaneval+");
  EXPECT_THROW(benchmark_from_string("HumanEval"), Error);
}

// As people's files spell them; the problem file itself has numbers.
TEST(Problems, MbppTasksHaveOneIdInEverySpelling) {
  for (const Benchmark benchmark : {Benchmark::mbpp, Benchmark::mbpp_sanitized, Benchmark::mbpp_plus}) {
    for (const char* id : {"17", "Mbpp/17", "MBPP/17", "mbpp/17"}) EXPECT_EQ(one_task_id(benchmark, id), "Mbpp/17");
    for (const char* id : {"", "Mbpp/", "Mbpp/x", "17.0", "-17", "Mbpp_17"}) EXPECT_EQ(one_task_id(benchmark, id), id);
  }
  EXPECT_EQ(one_task_id(Benchmark::humaneval, "17"), "17");
  const ProblemSet set = shipped_problems(Benchmark::mbpp_sanitized);
  ASSERT_NE(set.find("17"), nullptr);
  EXPECT_EQ(set.find("17"), set.find("MBPP/17"));
  EXPECT_EQ(set.find("1"), nullptr) << "1 is not among the 427";
}

TEST(Problems, MbppTestsAreImportsThenSetUpThenAssertions) {
  const ProblemSet full = shipped_problems(Benchmark::mbpp);
  EXPECT_THAT(full.find("927")->test, testing::StartsWith("root = Node(1)"));
  EXPECT_THAT(full.find("927")->test, testing::EndsWith("assert (max_height(root2)) == 4\n"));
  const ProblemSet sanitized = shipped_problems(Benchmark::mbpp_sanitized);
  EXPECT_THAT(sanitized.find("82")->test, testing::StartsWith("import math\nassert math.isclose("));
  // The same list as JSON text inside a string, and the array form, as some copies have them.
  const ProblemSet copy = parse_problems(
      Benchmark::mbpp, Language::python,
      R"([{"task_id": "3", "prompt": "Write f.", "code": "", "test_list": "[\"assert f\"]", "test_imports": "[]"}])", "copy");
  EXPECT_EQ(copy.problems().front().task_id, "Mbpp/3");
  EXPECT_EQ(copy.problems().front().test, "assert f\n");
}

TEST(Problems, ErrorsOfOtherFormsNameTheirFields) {
  const auto mbpp = [](const std::string& text) { return error_of(text, Benchmark::mbpp); };
  EXPECT_THAT(mbpp(R"([{"task_id": 1, "text": "t", "code": "c", "test_list": ["a"]}, 5])"),
              HasSubstr("problems.jsonl: element 2: expected a JSON object, found a number"));
  EXPECT_THAT(mbpp(R"({"task_id": 1.5})"), HasSubstr("the field \"task_id\" is a number; expected a string"));
  EXPECT_THAT(mbpp(R"({"task_id": 1})"), HasSubstr("the field \"prompt\" is missing"));
  EXPECT_THAT(mbpp(R"({"task_id": 1, "text": "t", "code": "c"})"), HasSubstr("the field \"test_list\" is missing"));
  EXPECT_THAT(mbpp(R"({"task_id": 1, "text": "t", "code": "c", "test_list": []})"), HasSubstr("\"test_list\" is empty"));
  EXPECT_THAT(mbpp(R"({"task_id": 1, "text": "t", "code": "c", "test_list": [1]})"), HasSubstr("has a number; expected a list of strings"));
  EXPECT_THAT(mbpp(R"({"task_id": 1, "text": "t", "code": "c", "test_list": "assert f"})"), HasSubstr("is a string that is not JSON"));
  EXPECT_THAT(mbpp(R"([{"task_id": 1, "text": "t", "code": "c", "test_list": ["a"]}, {"task_id": "MBPP/1", "text": "t", "code": "c", "test_list": ["a"]}])"),
              HasSubstr("two problems have the task_id \"Mbpp/1\""));
  EXPECT_THAT(error_of(R"({"task_id": 1, "prompt": "t", "code": "c", "test_list": ["a"]})", Benchmark::mbpp_plus),
              HasSubstr("the field \"test\" is missing"));
  const std::string inputs = R"({"task_id": "HumanEval/0", "base_input": [], "plus_input": "[]"})";
  EXPECT_THAT(error_of(inputs, Benchmark::humaneval_plus), HasSubstr("OriginFmt"));
  EXPECT_THAT(error_of(inputs, Benchmark::mbpp_plus), HasSubstr("OriginFmt"));
  EXPECT_THAT(error_of(R"({"name": "a", "language": "java", "prompt": "p", "tests": "t"})", Benchmark::mceval),
              HasSubstr("\"language\" is \"java\"; expected \"py\""));
}

TEST(Problems, ErrorsNameFileLineAndField) {
  EXPECT_THAT(error_of(line("a") + line("a")), HasSubstr("two problems have the task_id \"a\""));
  EXPECT_THAT(error_of(line("a") + R"({"task_id": "b"})"), HasSubstr("problems.jsonl: line 2: the field \"prompt\" is missing"));
  EXPECT_THAT(error_of(R"({"task_id": 7})"), HasSubstr("line 1: the field \"task_id\" is a number; expected a string"));
  EXPECT_THAT(error_of(line("a", "f()")), HasSubstr("entry_point \"f()\" is not the name"));
  EXPECT_THAT(error_of(line("a", "")), HasSubstr("is not the name"));
  EXPECT_THAT(error_of(line("")), HasSubstr("task_id is empty"));
  EXPECT_THAT(error_of(line("a\\u0000")), HasSubstr("NUL"));
  EXPECT_THAT(error_of(""), HasSubstr("no problems"));
}

TEST(Problems, AFileMayBePacked) {
  const std::filesystem::path packed = QUENCH_SOURCE_DIR "/worker/evaluate/data/McEval.python.jsonl.gz";
  const ProblemSet set = problems_from_file(Benchmark::mceval, Language::python, packed);
  EXPECT_EQ(set.problems().size(), 42u);
  EXPECT_EQ(set.digest(), shipped_problems(Benchmark::mceval).digest());
  EXPECT_THROW(unpacked("\x1f\x8bno gzip"), Error);
  const std::string whole = read_text_file(packed);
  EXPECT_THROW(unpacked(whole.substr(0, whole.size() / 2)), Error);
  EXPECT_EQ(unpacked(whole + whole).size(), 2 * unpacked(whole).size());
}

TEST(Problems, AMissingFileIsNamed) {
  try {
    problems_from_file(Benchmark::humaneval, Language::python, "/nowhere/problems.jsonl");
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_THAT(error.what(), HasSubstr("/nowhere/problems.jsonl: No such file"));
  }
}

}  // namespace
}  // namespace quench::worker
