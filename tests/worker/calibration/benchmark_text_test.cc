#include "worker/calibration/benchmark_text.h"

#include <gtest/gtest.h>

#include "tests/worker/calibration/corpus.h"
#include "worker/evaluate/problems.h"

namespace quench::worker {
namespace {

std::string in_a_file(const std::string& text) {
  return testing::WordSource(1).python(20) + "\n" + text + "\n" + testing::WordSource(2).python(20);
}

struct Share {
  int found = 0, all = 0;
};

template <typename Text>
Share found_in(Benchmark benchmark, Language language, Text&& text_of) {
  Share share;
  const ProblemSet set = shipped_problems(benchmark, language);
  for (const Problem& problem : set.problems()) {
    const std::string text = text_of(problem);
    if (text.empty()) continue;
    ++share.all;
    share.found += !BenchmarkText::shipped().find(in_a_file(text)).empty();
  }
  return share;
}

TEST(BenchmarkText, FindsEveryPromptOfHumanEval) {
  const Share share =
      found_in(Benchmark::humaneval, Language::python, [](const Problem& p) { return p.prompt; });
  EXPECT_EQ(share.all, 164);
  EXPECT_EQ(share.found, 164);
}

TEST(BenchmarkText, FindsPromptsOfOtherBenchmarks) {
  for (const auto& [benchmark, language] :
       {std::pair{Benchmark::mbpp, Language::python},
        std::pair{Benchmark::multipl_e_humaneval, Language::java},
        std::pair{Benchmark::multipl_e_mbpp, Language::java}, std::pair{Benchmark::mceval, Language::python},
        std::pair{Benchmark::mceval, Language::java}}) {
    const Share share = found_in(benchmark, language, [](const Problem& p) { return p.prompt; });
    // MBPP has sentences of fewer than ten words, which alone say little.
    EXPECT_GE(share.found, share.all * 94 / 100)
        << to_string(benchmark) << " " << to_string(language) << ": " << share.found << " of " << share.all;
  }
}

TEST(BenchmarkText, FindsSolutionsWithTheirNames) {
  const Share share = found_in(Benchmark::humaneval, Language::python,
                               [](const Problem& p) { return with_prompt(p, p.canonical_solution); });
  EXPECT_EQ(share.found, 164);
  const Share mbpp =
      found_in(Benchmark::mbpp, Language::python, [](const Problem& p) { return p.canonical_solution; });
  EXPECT_GE(mbpp.found, mbpp.all * 85 / 100) << mbpp.found << " of " << mbpp.all;
}

// However it is laid out, and whatever the case of its letters.
TEST(BenchmarkText, IsNotFooledByLayout) {
  EXPECT_EQ(BenchmarkText::shipped().find("check if in given list of numbers, are ANY two numbers\n\t\tcloser to each other "
                           "  than given threshold"),
            "humaneval HumanEval/0");
}

TEST(BenchmarkText, LeavesOtherTextAlone) {
  EXPECT_EQ(BenchmarkText::shipped().find(in_a_file("")), "");
  EXPECT_EQ(BenchmarkText::shipped().find("from typing import List, Dict, Optional\nimport numpy as np\nx = [0, 1, 2, 3, 4, "
                           "5, 6, 7, 8, 9, 10, 11, 12]\n"),
            "")
      << "what every problem begins with, and a row of numbers, are nobody's";
  EXPECT_EQ(BenchmarkText::shipped().find("import java.util.*;\nimport java.lang.reflect.*;\nimport "
                           "org.javatuples.*;\nimport java.security.*;\nimport java.math.*;\n"),
            "");
  EXPECT_EQ(BenchmarkText::shipped().find("@Override\npublic boolean equals(Object obj) {\n  if (this == obj) return "
                           "true;\n  if (obj == null || getClass() "
                           "!= obj.getClass()) return false;\n  Point other = (Point) obj;\n"),
            "")
      << "what every class has";
  // Real code, of which the model of the fixtures was trained: the standard library of Python.
  std::string library = testing::read_text(testing::fixture("calibration_python.txt"));
  EXPECT_EQ(BenchmarkText::shipped().find(library), "");
}

}  // namespace
}  // namespace quench::worker
