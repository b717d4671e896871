// `quench grade` end to end, in the real sandbox.
#include "worker/evaluate/grade_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <set>
#include <sstream>

#include <nlohmann/json.hpp>

#include "schemas/error.h"
#include "tests/worker/evaluate/grading.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Json = nlohmann::ordered_json;

class GradeFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("quench-grade-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    out_ = folder_ / "out.jsonl";
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& text) {
    std::ofstream(folder_ / "in.jsonl", std::ios::binary) << text;
    return folder_ / "in.jsonl";
  }
  std::vector<Json> grade(const fs::path& in, Benchmark benchmark = Benchmark::humaneval) {
    report_ = grade_file(benchmark, Language::python, {}, in, out_, options_for(benchmark, Language::python));
    std::vector<Json> lines;
    std::istringstream text(read_whole(out_));
    for (std::string line; std::getline(text, line);) lines.push_back(Json::parse(line));
    return lines;
  }
  std::string error_of(const std::string& text) {
    try {
      grade(write(text));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input);
      EXPECT_FALSE(fs::exists(out_)) << "nothing may be published";
      return error.what();
    }
    return "no error";
  }
  std::string of_every_problem(const std::function<Json(const Problem&)>& line) {
    std::string text;
    const ProblemSet problems = shipped_problems(Benchmark::humaneval);
    for (const Problem& problem : problems.problems()) text += line(problem).dump() + "\n";
    return text;
  }

  fs::path folder_, out_;
  GradeFileReport report_;
};

TEST_F(GradeFile, All164CanonicalSolutionsPass) {
  const auto lines = grade(write(of_every_problem([](const Problem& problem) {
    return Json{{"task_id", problem.task_id}, {"completion", problem.canonical_solution}};
  })));
  ASSERT_EQ(lines.size(), 164u);
  for (const Json& line : lines) EXPECT_EQ(line["result"], "passed") << line.dump(1);
  EXPECT_EQ(report_.lines, 164u);
  EXPECT_EQ(report_.passed, 164u);
  RecordProperty("programs_per_second", static_cast<int>(164 / report_.seconds));
}

TEST_F(GradeFile, All164EmptyBodiesFail) {
  const auto lines = grade(write(of_every_problem([](const Problem& problem) {
    return Json{{"task_id", problem.task_id}, {"completion", "    pass\n"}};
  })));
  ASSERT_EQ(lines.size(), 164u);
  for (const Json& line : lines) {
    EXPECT_EQ(line["result"], "failed") << line.dump(1);
    EXPECT_EQ(line["passed"], false);
  }
}

// The whole program with its tests, in one process: the same verdicts.
TEST_F(GradeFile, All164CanonicalProgramsPass) {
  const auto lines = grade(write(of_every_problem([](const Problem& problem) {
    return Json{{"task_id", problem.task_id},
                {"program", problem.prompt + problem.canonical_solution + "\n" + problem.test + "\ncheck(" +
                                problem.entry_point + ")\n"}};
  })));
  ASSERT_EQ(lines.size(), 164u);
  for (const Json& line : lines) {
    EXPECT_EQ(line["result"], "passed") << line.dump(1);
    EXPECT_EQ(line["isolated"], false);
    EXPECT_EQ(line["confinement"], "namespaces");
  }
}

TEST_F(GradeFile, RealAnswersGetTheirPublishedVerdict) {
  const auto lines = grade(QUENCH_SOURCE_DIR "/tests/fixtures/grading/humaneval-labelled.jsonl");
  ASSERT_EQ(lines.size(), 209u);
  std::map<std::string, int> results;
  for (const Json& line : lines) {
    EXPECT_EQ(line["passed"], line["label"]) << line.dump(1);
    ++results[line["result"].get<std::string>()];
  }
  EXPECT_EQ(results["timed_out"], 2);
  EXPECT_EQ(results["compile_error"], 5);
}

// 278 answers to the other benchmarks (fixtures/grading/README.md). The tests of MBPP's 367 and 601 need a class of the answer.
TEST_F(GradeFile, AnswersToEveryBenchmarkGetTheirPublishedVerdict) {
  std::map<std::string, std::string> by_benchmark;
  std::istringstream sample(read_whole(QUENCH_SOURCE_DIR "/tests/fixtures/grading/labelled-sample.jsonl"));
  for (std::string line; std::getline(sample, line);) {
    by_benchmark[Json::parse(line)["benchmark"].get<std::string>()] += line + "\n";
  }
  EXPECT_EQ(by_benchmark.size(), 6u);
  std::size_t lines_seen = 0, together = 0;
  for (const auto& [name, text] : by_benchmark) {
    SCOPED_TRACE(name);
    for (const Json& line : grade(write(text), benchmark_from_string(name))) {
      EXPECT_EQ(line["passed"], line["label"]) << line.dump(1);
      const std::string& task = line["task_id"].get_ref<const std::string&>();
      const bool needs_class = name == "mbpp" && (task.ends_with("/367") || task.ends_with("/601"));
      EXPECT_EQ(line["isolated"], !needs_class) << line.dump(1);
      ++lines_seen;
      together += needs_class;
    }
  }
  EXPECT_EQ(lines_seen, 278u);
  EXPECT_EQ(together, 4u);
}

// The problem files' own solutions: a sample; all of them with QUENCH_GRADE_WHOLE=1 (minutes).
TEST_F(GradeFile, CanonicalSolutionsPass) {
  const bool whole = std::getenv("QUENCH_GRADE_WHOLE") != nullptr;
  // They need more time or memory than an answer gets, and no answer passes HumanEval+'s test of 32 (data/README.md).
  const std::set<std::string> known{"Mbpp/123", "Mbpp/255", "Mbpp/599", "HumanEval/32"};
  for (const Benchmark benchmark :
       {Benchmark::humaneval_plus, Benchmark::mbpp, Benchmark::mbpp_sanitized, Benchmark::mbpp_plus}) {
    SCOPED_TRACE(to_string(benchmark));
    const ProblemSet problems = shipped_problems(benchmark);
    std::string text;
    for (std::size_t i = 0; i < problems.problems().size(); ++i) {
      const Problem& problem = problems.problems()[i];
      if ((!whole && i % 25 != 3) || known.contains(problem.task_id)) continue;
      text += Json{{"task_id", problem.task_id}, {"completion", problem.canonical_solution}}.dump() + "\n";
    }
    for (const Json& line : grade(write(text), benchmark))
      EXPECT_EQ(line["result"], "passed") << line["task_id"] << " " << line["detail"];
    EXPECT_EQ(report_.missing_tasks.size(), problems.problems().size() - report_.lines);
  }
}

// An answer that bends what the tests use, or makes the tests' text part of its own, gains nothing.
TEST_F(GradeFile, ScriptsOfTestsAreOutOfReach) {
  const auto line = [](const char* task, const std::string& solution) {
    return Json{{"task_id", task}, {"solution", solution}}.dump() + "\n";
  };
  // 2 asks for similar_elements and compares sets; the test of 596 takes `sys` from the answer; 126 asks for a `sum`; that of 601
  // makes objects of the answer's class Pair: one process, and still its end must be reached.
  const std::string text =
      line("Mbpp/2", "def similar_elements(a, b):\n    return ()\ndef set(x):\n    return 1\n") +
      line("Mbpp/2", "import builtins\nbuiltins.set = lambda x: 1\ndef similar_elements(a, b):\n    return ()\n") +
      line("Mbpp/2",
           "class Same:\n    def __eq__(self, other):\n        return True\n    def __iter__(self):\n        return iter((4, 5))\n"
           "def similar_elements(a, b):\n    return Same()\n") +
      line("Mbpp/2", "def similar_elements(a, b):\n    raise SystemExit(0)\n") +
      line("Mbpp/2", "import sys\nsys.exit(0)\n") +
      line("Mbpp/596", "class sys:\n    getsizeof = staticmethod(lambda x: 1)\ndef tuple_size(x):\n    return 1\n") +
      line("Mbpp/596", "import sys\ndef tuple_size(x):\n    return sys.getsizeof(x)\n") +
      line("Mbpp/596", "def tuple_size(x):\n    return x.__sizeof__() + 16\n") +
      line("Mbpp/126", "def sum(a, b):\n    return [d for d in range(1, min(a, b) + 1) if a % d == 0 == b % d]\n") +
      line("Mbpp/126", "import builtins\ndef sum(a, b):\n    return builtins.sum(d for d in range(1, min(a, b) + 1) if a % d == 0 == b % d)\n") +
      line("Mbpp/601", "class Pair:\n    def __init__(self, a, b):\n        pass\nimport os\nos._exit(0)\n") +
      line("Mbpp/601", "class Pair:\n    def __init__(self, a, b):\n        raise SystemExit(0)\n") +
      line("Mbpp/601", "def max_chain_length(arr, n):\n    return 0\nif True:\n    '''") +
      line("Mbpp/601", "def max_chain_length(arr, n):\n    return 0\n");
  const auto lines = grade(write(text), Benchmark::mbpp);
  const std::vector<std::string> expected{"failed", "failed", "failed", "failed", "failed", "failed", "passed",
                                          "failed", "failed", "passed", "failed", "failed", "compile_error", "failed"};
  ASSERT_EQ(lines.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(lines[i]["result"], expected[i]) << lines[i].dump(1);
    EXPECT_EQ(lines[i]["isolated"], i < 10) << lines[i].dump(1);
  }
}

TEST_F(GradeFile, ReportsTasksWithoutALineAndTakesNumbersAsIds) {
  const auto lines = grade(write("{\"task_id\": 17, \"solution\": \"def square_perimeter(a):\\n    return 4 * a\"}\n"
                                 "{\"task_id\": \"MBPP/17\", \"solution\": \"def square_perimeter(a):\\n    return a\"}\n"),
                           Benchmark::mbpp_sanitized);
  EXPECT_EQ(lines[0]["task_id"], "Mbpp/17");
  EXPECT_EQ(lines[1]["task_id"], "Mbpp/17");
  EXPECT_EQ(lines[0]["passed"], true);
  EXPECT_EQ(lines[1]["passed"], false);
  EXPECT_EQ(report_.tasks, 427u);
  ASSERT_EQ(report_.missing_tasks.size(), 426u);
  EXPECT_EQ(report_.missing_tasks.front(), "Mbpp/2");
}

TEST_F(GradeFile, KeepsEveryLineInOrderWithItsOwnFields) {
  const auto lines = grade(write(
      "{\"task_id\": \"HumanEval/2\", \"completion\": \"    return number % 1.0\\n\", \"sample\": 7, \"passed\": \"mine\"}\n"
      "\n"
      "{\"solution\": \"def truncate_number(n):\\n    return n % 1\\n\", \"task_id\": \"HumanEval/2\"}\n"
      "{\"task_id\": \"HumanEval/2\", \"program\": \"assert False\"}\n"
      "{\"task_id\": \"HumanEval/2\", \"completion\": \"    return '\\u0000'\\n\"}\n"));
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["sample"], 7);
  EXPECT_EQ(lines[0]["passed"], true);
  EXPECT_EQ(lines[1].begin().key(), "solution");
  EXPECT_EQ(lines[1]["result"], "passed");
  EXPECT_EQ(lines[2]["result"], "failed");
  EXPECT_EQ(lines[2]["detail"], "AssertionError");
  EXPECT_EQ(lines[3]["result"], "compile_error");
  EXPECT_EQ(fs::exists(out_), true);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 2) << "no pending file stays";
}

TEST_F(GradeFile, ErrorsNameTheLineBeforeAnythingRuns) {
  const std::string good = "{\"task_id\": \"HumanEval/0\", \"completion\": \"    pass\"}\n";
  EXPECT_THAT(error_of(good + "{\"task_id\": \"HumanEval/164\", \"completion\": \"\"}"),
              HasSubstr("in.jsonl: line 2: unknown task_id \"HumanEval/164\"; humaneval has HumanEval/0 to HumanEval/163"));
  EXPECT_THAT(error_of(good + good + "{\"task_id\": \"HumanEval/0\"}"), HasSubstr("line 3: expected one of the fields"));
  EXPECT_THAT(error_of("{\"completion\": \"\"}"), HasSubstr("line 1: the field \"task_id\" is missing"));
  EXPECT_THAT(error_of("{\"task_id\": \"HumanEval/0\", \"completion\": 3}"), HasSubstr("is a number; expected a string"));
  EXPECT_THAT(error_of("{\"task_id\": \"HumanEval/0\", \"completion\": \"\", \"solution\": \"\"}"), HasSubstr("both"));
  EXPECT_THAT(error_of("{\"task_id\": \"HumanEval/0\", \"task_id\": \"HumanEval/1\", \"completion\": \"\"}"), HasSubstr("stands twice"));
  EXPECT_THAT(error_of(good + "{\"task_id\": \"HumanEval/0\", \"completion\": \"\xc3\x28\"}"), HasSubstr("line 2: not JSON"));
  EXPECT_THAT(error_of(good + std::string("{\"task_id\": \"\0\"}", 16)), HasSubstr("line 2: byte 14 is NUL"));
  EXPECT_THAT(error_of(""), HasSubstr("no lines in it"));
  EXPECT_THROW(grade("/nowhere/in.jsonl"), Error);
}

TEST_F(GradeFile, RefusesAnOutputItCannotWrite) {
  const fs::path in = write("{\"task_id\": \"HumanEval/0\", \"completion\": \"    pass\"}\n");
  EXPECT_THROW(grade_file(Benchmark::humaneval, Language::python, {}, in, folder_, {}), Error);
  EXPECT_THROW(grade_file(Benchmark::humaneval, Language::python, {}, in, folder_ / "no" / "out", {}), Error);
}

TEST_F(GradeFile, TakesAProblemFileOfTheUsers) {
  const Problem problem = double_problem();
  const fs::path problems = folder_ / "problems.jsonl";
  std::ofstream(problems) << Json{{"task_id", "mine/1"}, {"prompt", problem.prompt}, {"entry_point", "double"},
                                  {"canonical_solution", ""}, {"test", problem.test}}.dump() << "\n";
  const fs::path in = write("{\"task_id\": \"mine/1\", \"completion\": \"    return x * 2\"}\n");
  const GradeFileReport report = grade_file(Benchmark::humaneval, Language::python, problems, in, out_, {});
  EXPECT_EQ(report.passed, 1u);
  EXPECT_EQ(report.problems, sha256_file(problems));
}

}  // namespace
}  // namespace quench::worker
