#include "worker/evaluate/completion_cut.h"

#include <gtest/gtest.h>

#include <string>

#include "worker/evaluate/prompts.h"

namespace quench::worker {
namespace {

TEST(CompletionCut, EndsBeforeTheFirstStopString) {
  const std::string body = "    return 1\n";
  for (std::string_view stop : stop_strings(Benchmark::humaneval)) {
    const std::string text = body.substr(0, body.size() - 1) + std::string(stop) + "more\ndef other():\n";
    EXPECT_EQ(cut_completion(Benchmark::humaneval, text), "    return 1") << stop;
  }
  EXPECT_EQ(stop_strings(Benchmark::humaneval).size(), 9u);
}

TEST(CompletionCut, KeepsIndentedCodeAndTextWithoutStops) {
  const std::string body = "    def helper(a):\n        return a\n    import math\n    # note\n    return helper(2)\n";
  EXPECT_EQ(cut_completion(Benchmark::humaneval, body), body);
  EXPECT_FALSE(first_stop(Benchmark::humaneval, body).has_value());
  EXPECT_EQ(cut_completion(Benchmark::humaneval, ""), "");
  EXPECT_EQ(cut_completion(Benchmark::humaneval, "\ndefine = 1"), "\ndefine = 1");
}

TEST(CompletionCut, FindsInPiecesWhatItFindsInTheWhole) {
  const std::string text = "    x = 1\n    return x\n\n\nclass Next:\n    pass\nassert x";
  const std::size_t whole = first_stop(Benchmark::humaneval, text).value();
  EXPECT_EQ(text.substr(whole, 7), "\nclass ");
  for (std::size_t step = 1; step < 9; ++step) {
    std::size_t scanned = 0;
    std::optional<std::size_t> found;
    for (std::size_t length = step; !found && length < text.size() + step; length += step) {
      const std::string_view prefix = std::string_view(text).substr(0, length);
      found = first_stop(Benchmark::humaneval, prefix, resume_offset(Benchmark::humaneval, scanned));
      scanned = prefix.size();
    }
    EXPECT_EQ(found, whole) << step;
  }
}

TEST(Prompts, HumanEvalIsCompletedAsItStands) {
  const ProblemSet problems = shipped_problems(Benchmark::humaneval);
  const Problem& first = problems.problems().front();
  EXPECT_EQ(completion_prompt(Benchmark::humaneval, first), first.prompt);
  EXPECT_TRUE(first.prompt.ends_with("\"\"\"\n"));
}

}  // namespace
}  // namespace quench::worker
