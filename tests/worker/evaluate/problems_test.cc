#include "worker/evaluate/problems.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schemas/error.h"

namespace quench::worker {
namespace {

using testing::HasSubstr;

std::string error_of(const std::string& text) {
  try {
    parse_problems(Benchmark::humaneval, text, "problems.jsonl");
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

TEST(Problems, BenchmarkNamesAreChecked) {
  EXPECT_EQ(benchmark_from_string("humaneval"), Benchmark::humaneval);
  EXPECT_EQ(to_string(Benchmark::humaneval), "humaneval");
  EXPECT_THROW(benchmark_from_string("HumanEval"), Error);
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

TEST(Problems, AMissingFileIsNamed) {
  try {
    problems_from_file(Benchmark::humaneval, "/nowhere/problems.jsonl");
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_THAT(error.what(), HasSubstr("/nowhere/problems.jsonl: No such file"));
  }
}

}  // namespace
}  // namespace quench::worker
