// Java programs: what they are told, what the hostile ones get, and that those leave nothing behind. Every
// file in hostile_java/ has its expected verdict in its first line. One sandbox serves a whole test, as it
// serves a job.
#include "worker/evaluate/sandbox/java_sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "schemas/error.h"
#include "tests/worker/evaluate/grading.h"
#include "worker/evaluate/answers.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

// Right only in a clean sandbox: nothing left in /tmp, nothing left of another program's threads or memory.
constexpr char kInnocent[] = R"(
import java.io.File;
import java.util.*;

class Problem {
    public static void main(String[] args) throws Exception {
        assert new File("/tmp").list().length == 0;
        assert new File("/tmp/mine").createNewFile();
        Thread[] threads = new Thread[64];
        assert Thread.currentThread().getThreadGroup().enumerate(threads) == 1;
        long[] memory = new long[1 << 21];
        assert memory.length == 1 << 21 && System.in.read() == -1;
        List<Long> list = new ArrayList<>(Arrays.asList(1L, 2L));
        list.replaceAll(x -> x * 2);
        assert list.equals(List.of(2L, 4L));
    }
}
)";

class JavaPrograms : public testing::Test {
 protected:
  void SetUp() override {
    try {
      java_ = find_java_host();
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    const GraderOptions options = short_options(1);
    limits_ = options.limits;
    limits_.cpu_ms = 3000;  // of CPU time: a Java machine takes a tenth of a second to start
    limits_.total_memory_bytes = 256ull << 20;
    sandbox_.emplace(find_sandbox_host({}, options.python), java_, limits_);
  }

  // As a grader runs it: once more, with a longer wall clock, when the first run says nothing.
  Execution run(const std::string& program, std::string_view tests = {}) {
    Attempt attempt = sandbox_->run_program(program, limits_.end_ms(), tests);
    if (attempt.inconclusive) attempt = sandbox_->run_program(program, 4 * limits_.end_ms(), tests);
    EXPECT_FALSE(attempt.execution.isolated);
    return attempt.execution;
  }

  JavaHost java_;
  SandboxLimits limits_;
  std::optional<JavaSandbox> sandbox_;
};

std::string problem(const std::string& body) {
  return "import java.util.*;\nimport org.javatuples.*;\n\nclass Problem {\n" + body + "\n}\n";
}

TEST_F(JavaPrograms, AreToldWhatWentWrong) {
  EXPECT_EQ(run(problem("    public static void main(String[] args) {\n        assert Pair.with(1, "
                        "\"a\").getValue1().equals(\"a\");\n    }"))
                .detail,
            "");
  const Execution wrong =
      run(problem("    public static void main(String[] args) {\n        assert 1 + 1 == 3;\n    }"));
  EXPECT_EQ(to_string(wrong.result), "failed");
  EXPECT_EQ(wrong.detail, "java.lang.AssertionError (line 6)");
  EXPECT_THAT(wrong.stderr_tail, StartsWith("java.lang.AssertionError\n\tat Problem.main(Problem.java:6)"));
  const Execution thrown =
      run(problem("    public static void main(String[] args) {\n        System.err.println(\"here\");\n     "
                  "   List.of().get(0);\n    }"));
  EXPECT_EQ(to_string(thrown.result), "failed");
  EXPECT_THAT(thrown.detail, StartsWith("java.lang.ArrayIndexOutOfBoundsException: "));
  EXPECT_THAT(thrown.detail, HasSubstr("(line 7)"));
  EXPECT_THAT(thrown.stderr_tail, StartsWith("here\n"));
  const Execution unknown =
      run(problem("    public static void main(String[] args) {\n        int y = x;\n    }"));
  EXPECT_EQ(to_string(unknown.result), "compile_error");
  EXPECT_THAT(unknown.detail, StartsWith("cannot find symbol; symbol:"));
  EXPECT_THAT(unknown.detail, HasSubstr("(line 6)"));
  EXPECT_EQ(to_string(run("not Java \xff\n").result), "compile_error");
  EXPECT_EQ(to_string(run("").result), "compile_error");
}

// Tests that an answer stands before mean what they mean without it: it may close the class that it is asked
// to go on with, and bring another main method, or classes that hide what the tests name.
TEST_F(JavaPrograms, CannotChangeWhatTheirTestsMean) {
  const std::string begin =
      "import java.util.*;\nclass Problem {\n    static ArrayList<Long> twice(ArrayList<Long> x) {\n";
  const std::string tests =
      "    }\n    public static void main(String[] args) {\n"
      "        assert(twice((new ArrayList<Long>(Arrays.asList((long)21l)))).equals((new "
      "ArrayList<Long>(Arrays.asList((long)42l)))));\n"
      "        assert twice(new ArrayList<Long>())\n          .equals(\n            new ArrayList<Long>()\n  "
      "        );\n    }\n}\n";
  EXPECT_EQ(to_string(run(begin + "        x.replaceAll(y -> y * 2);\n        return x;\n", tests).result),
            "passed");
  EXPECT_EQ(
      to_string(
          run(begin + "        return new ArrayList<Long>() {{ for (long y : x) add(2 * y); }};\n", tests)
              .result),
      "passed");
  EXPECT_EQ(run(begin + "        x.removeIf(y -> y == 21L);\n        return x;\n", tests).detail,
            "java.lang.AssertionError (line 8)");
  EXPECT_EQ(run(begin + "        return null;\n", tests).detail,
            "java.lang.NullPointerException: null has no equals (line 7)");
  const Execution equals_all =
      run(begin +
              "        return new ArrayList<Long>() {\n            public boolean equals(Object o) {\n       "
              "         return true;\n            }\n        };\n",
          tests);
  EXPECT_EQ(to_string(equals_all.result), "failed");
  const Execution hidden_class =
      run(begin +
              "        return x;\n    }\n}\nclass ArrayList<T> extends java.util.ArrayList<T> {\n    "
              "ArrayList() {}\n    ArrayList(Collection<T> c) {}\n"
              "    public boolean equals(Object o) {\n        return true;\n    }\n    static "
              "ArrayList<Long> twice(ArrayList<Long> x) {\n        return x;\n",
          tests);
  EXPECT_EQ(to_string(hidden_class.result), "compile_error");
  EXPECT_EQ(hidden_class.detail, "the answer declares ArrayList, which hides what its tests mean by it");
  const Execution hidden_by_field =
      run(begin +
              "        return x;\n    }\n    static class Empty {\n        List<Long> asList(Long... x) {\n  "
              "          return new ArrayList<>();\n        }\n    }\n"
              "    static Empty Arrays = new Empty();\n    static void f() {\n",
          tests);
  EXPECT_EQ(hidden_by_field.detail, "the answer declares Arrays, which hides what its tests mean by it");
}

// The main method that runs is the tests' own, wherever an answer puts it.
TEST_F(JavaPrograms, RunTheTestsAndNoOtherMain) {
  const std::string begin = "import java.util.*;\nclass Problem {\n    static long twice(long x) {\n";
  const std::string tests =
      "    }\n    public static void main(String[] args) {\n        assert (twice(21L) == 42L);\n    }\n}\n";
  EXPECT_EQ(to_string(run(begin + "        return 2 * x;\n", tests).result), "passed");
  EXPECT_EQ(to_string(run(begin + "        return 0;\n", tests).result), "failed");
  EXPECT_EQ(
      to_string(run(begin + "        return 0;\n    }\n    public static void main(String[] args) {}\n}\n"
                            "class Other {\n    static long twice(long x) {\n        return 0;\n",
                    tests)
                    .result),
      "failed");
  EXPECT_EQ(
      to_string(
          run(begin +
                  "        return 0;\n    }\n    public static void main(String[] args) {}\n    void f() {\n"
                  "        class Inner {\n            static long twice(long x) {\n                return "
                  "0;\n",
              tests + "}}\n")
              .result),
      "compile_error");
  EXPECT_EQ(
      to_string(
          run(begin + "        return 0;\n    }\n    public static void main(String[] args) {}\n}\n/*", tests)
              .result),
      "compile_error");
}

TEST_F(JavaPrograms, HostileOnesGetTheirVerdictsAndLeaveNothing) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(QUENCH_SOURCE_DIR "/tests/worker/evaluate/hostile_java"))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  ASSERT_GE(files.size(), 20u);
  const std::string mark = "// expect: ";
  for (const fs::path& file : files) {
    const std::string text = read_whole(file);
    ASSERT_TRUE(text.starts_with(mark)) << file << ": the first line must say what to expect";
    const std::string expected = text.substr(mark.size(), text.find('\n') - mark.size());
    // What keeps javac busy keeps it busy four times as long, too.
    const bool for_javac = file.stem().string().starts_with("javac_");
    const Execution execution =
        for_javac ? sandbox_->run_program(text, limits_.end_ms()).execution : run(text);
    EXPECT_EQ(to_string(execution.result), expected) << file.stem() << ": " << execution.detail << "\n"
                                                     << execution.stderr_tail;
    const Execution innocent = run(kInnocent);
    EXPECT_EQ(to_string(innocent.result), "passed")
        << "after " << file.stem() << ": " << innocent.detail << "\n"
        << innocent.stderr_tail;
  }
}

// Completions of a real model whose verdicts are known; and some of them as whole programs.
TEST_F(JavaPrograms, OfARealModelGetTheirKnownVerdicts) {
  std::istringstream lines(
      read_whole(QUENCH_SOURCE_DIR "/tests/fixtures/grading/humaneval-java-labelled.jsonl"));
  const ProblemSet problems = shipped_problems(Benchmark::multipl_e_humaneval, Language::java);
  std::vector<Submission> submissions;
  std::vector<bool> known;
  const auto add = [&](const Problem* problem, SubmissionForm form, std::string text, bool passed) {
    submissions.push_back({problem, form, std::move(text)});
    known.push_back(passed);
  };
  for (std::string text; std::getline(lines, text);) {
    const nlohmann::json line = nlohmann::json::parse(text);
    const Problem* problem = problems.find(line.at("task_id").get<std::string>());
    ASSERT_NE(problem, nullptr) << text;
    const std::string completion = line.at("completion");
    add(problem, SubmissionForm::completion, completion, line.at("passed"));
    if (submissions.size() % 8 == 0)
      add(nullptr, SubmissionForm::program, with_prompt(*problem, completion) + "\n" + problem->test,
          line.at("passed"));
    // As an instruct model would say it: the whole class with a main method of its own, or the method alone.
    if (submissions.size() % 8 > 1) continue;
    const std::string method = with_prompt(*problem, completion) + "    }\n";
    const std::string head = "class Problem {\n";
    for (const std::string& said : {method + "    public static void main(String[] args) { System.out.println(1); }\n}\n",
                                    method.substr(method.find(head) + head.size())})
      add(problem, SubmissionForm::solution,
          submission_of({.benchmark = "multipl-e-humaneval", .language = "java", .chat = ChatTemplate::codellama_instruct}, problems,
                        *problem, said)
              .text,
          line.at("passed"));
  }
  ASSERT_GE(submissions.size(), 158u);
  GraderOptions options;
  options.benchmark = Benchmark::multipl_e_humaneval;
  options.language = Language::java;
  options.limits.cpu_ms = kJavaCpuMs;
  options.sandboxes = 2;
  Grader grader(options);
  const std::vector<Execution> executions = grader.grade(submissions);
  for (std::size_t i = 0; i < executions.size(); ++i) {
    EXPECT_EQ(executions[i].passed(), known[i])
        << (submissions[i].problem ? submissions[i].problem->task_id : "a program") << ": "
        << executions[i].detail;
    EXPECT_FALSE(executions[i].isolated);
  }
}

TEST(JavaHost, SaysWhichPackageIsMissing) {
  try {
    find_java_host("/usr/share");
    FAIL() << "found a kit where there is none";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_THAT(error.what(), HasSubstr("there is no Java development kit (/usr/share/bin/javac)"));
    EXPECT_THAT(error.what(), HasSubstr("install the package default-jdk-headless"));
  }
}

}  // namespace
}  // namespace quench::worker
