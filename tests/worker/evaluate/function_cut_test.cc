#include "worker/evaluate/function_cut.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace quench::worker {
namespace {

const std::string kPython = "import math\n\ndef helper():\n    pass\n\ndef f(x):\n    \"\"\"doc\"\"\"\n";
const std::string kJava = "class Problem {\n    // doc {\n    public static int f(int x) {\n";

// What of `completion` stays.
std::string python(const std::string& completion, const std::string& prompt = kPython,
                   const std::string& tests = "check(f)") {
  const std::string source = prompt + completion;
  const auto end = end_of_function(Language::python, source, prompt.size(), tests);
  return end ? source.substr(prompt.size(), end->after - prompt.size()) : "(none)";
}

std::string java(const std::string& completion, const std::string& prompt = kJava) {
  const std::string source = prompt + completion;
  const auto end = end_of_function(Language::java, source, prompt.size(), "");
  if (!end) return "(none)";
  EXPECT_EQ(source.substr(end->before_brace, end->after - end->before_brace), "}");
  return source.substr(prompt.size(), end->after - prompt.size());
}

TEST(FunctionCut, PythonEndsWithTheFunctionThatThePromptOpens) {
  const std::string body = "    y = x\n\n    def inner(a):\n        return a\n    return inner(y)";
  for (const char* rest :
       {"\n", "\n\n\ndef g():\n    pass\n", "\nprint(f(1))\n", "\n@decorated\ndef g(): pass",
        "\nclass A:\n  x = 1\n", "\n\nThis function doesn't work (see below\n", "\n```\n",
        "\nif __name__ == '__main__':\n    f(1)\n", "\n\"\"\"\n", "\n# a note\nx = 1\n", "\n\xff\xfe\n",
        "\n\x01)(\n"})
    EXPECT_EQ(python(body + rest), body) << rest;
}

TEST(FunctionCut, PythonKnowsLinesAtTheMarginThatEndNothing) {
  for (const char* body :
       {"    s = '''\nabc\nprint(1)\n'''\n    return s", "    s = 1\n# at the margin\n    return s",
        "    s = [\n1,\n2]\n    return s", "    s = 1 + \\\n2\n    return s", "    return f(\n)",
        "    s = \"\"\"\n'''\ndef g():\n\"\"\"\n    return s"})
    EXPECT_EQ(python(std::string(body) + "\nprint(1)\n"), body);
}

TEST(FunctionCut, PythonWithoutACompleteFunctionIsLeftAlone) {
  EXPECT_EQ(python("    return (1,\n"), "(none)");
  EXPECT_EQ(python("    s = '''\nabc"), "(none)");
  EXPECT_EQ(python(""), "(none)");
  EXPECT_EQ(python("   \n"), "(none)");
  EXPECT_EQ(python("x = 1\n", "", ""), "(none)");
}

// The study's prompts end with the docstring; a model may go on in its line.
TEST(FunctionCut, PythonPromptsMayBeStripped) {
  const std::string prompt = "def f(x):\n    \"\"\"doc\"\"\"";
  EXPECT_EQ(python("\n    return x\n\nf(2)\n", prompt), "\n    return x");
  EXPECT_EQ(python("\n\nprint(1)\n", prompt), "") << "no body at all: a docstring is one";
}

TEST(FunctionCut, PythonMethodsEndAtTheirOwnMargin) {
  EXPECT_EQ(python("        return 1\n    def g(self):\n        pass\n", "class A:\n    def f(self):\n"),
            "        return 1");
}

TEST(FunctionCut, PythonWithoutPromptTakesWhatTheTestsCall) {
  const std::string text =
      "import math\nimport re\n\ndef helper(a):\n    return a\n\n@cache\ndef f(x):\n    return x\n";
  EXPECT_EQ(python(text + "\ndef g(): pass\n", "", "assert f(2) == 2"), text.substr(0, text.size() - 1));
  EXPECT_EQ(python(text, "", "assert other(2)"), "import math\nimport re\n\ndef helper(a):\n    return a");
}

TEST(FunctionCut, JavaEndsWithTheMethodsBrace) {
  const std::string body =
      "        if (x > 1) { return 2; }\n        String s = \"}\\\"}\"; // }\n        char c = '}';\n"
      "        /* } */ return 1;\n    }";
  for (const char* rest :
       {"\n", "\n    void g() {}\n}\n", "\n}\n}\n}", "\n\nIt's done } {{{ \" \n", "\n```\n", "\xff"})
    EXPECT_EQ(java(body + rest), body) << rest;
  EXPECT_EQ(java("{ return 1; }\n int g() { }", "class Problem {\n  int f(int x) "), "{ return 1; }");
  EXPECT_EQ(java("        Runnable r = () -> { f(1); };\n        int[] a = {1, 2};\n    }\n}\n"),
            "        Runnable r = () -> { f(1); };\n        int[] a = {1, 2};\n    }");
}

TEST(FunctionCut, JavaWithoutACompleteMethodIsLeftAlone) {
  EXPECT_EQ(java("        return 1;\n"), "(none)");
  EXPECT_EQ(java("        String s = \"}"), "(none)");
  EXPECT_EQ(java(";\n}", "class Problem {\n  int f(int x)"), "(none)");
  EXPECT_EQ(java("\n}\n", "class Problem {\n  int f(int x)"), "(none)");
}

TEST(FunctionCut, HostileTextsTakeBoundedTime) {
  std::string quotes, noise;
  for (int i = 0; i < 2'000; ++i) quotes += "'\n\"\"\"\n";
  std::mt19937 random(7);
  for (int i = 0; i < 2'000; ++i) noise += static_cast<char>(random());
  const auto began = std::chrono::steady_clock::now();
  for (const std::string& text :
       {std::string(10 << 20, '('), std::string(10 << 20, '{'), std::string(10 << 20, '\0'), quotes, noise}) {
    python(text);
    java(text);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(30));
}

// Where generation stops early, the whole text would have been cut at the same place.
TEST(FunctionWatch, SettlesOnlyWhatTheWholeTextConfirms) {
  struct Case {
    Language language;
    std::string prompt, completion;
    bool settles;
  };
  const std::vector<Case> cases = {
      {Language::python, kPython,
       "    y = x\n    s = '''\nabc\n'''\n# note\n    return [\n1]\n\nprint(f(1))\nx = (\n", true},
      {Language::python, kPython, "    return 1\n\nAnd that's all (see", true},
      {Language::python, kPython, "    return 1\n", false},
      {Language::python, kPython, "    return (\n1,\n2", false},
      {Language::python, "", "import re\n\ndef helper():\n    pass\n\ndef f(x):\n    return x\n\nf(1)\n",
       true},
      {Language::java, kJava,
       "        if (x > 1) { return '}'; } /* \n } */\n        return \"}\".length();\n    }\n    void g() "
       "{}\n",
       true},
      {Language::java, kJava, "        return ((1;\n    }\n}\n", false},
      {Language::java, "class Problem {\n  int f(int x) ", "{\n    return 1;\n  }\n}\n", true}};
  for (const Case& one : cases) {
    FunctionWatch watch(one.language, one.prompt, "assert f(1)");
    std::size_t length = 0;
    while (length < one.completion.size() && !watch.is_complete(one.completion.substr(0, length + 1)))
      ++length;
    EXPECT_EQ(length < one.completion.size(), one.settles) << one.completion;
    const auto cut = [&](const std::string& completion) {
      const auto end =
          end_of_function(one.language, one.prompt + completion, one.prompt.size(), "assert f(1)");
      return end ? std::pair(end->before_brace, end->after) : std::pair<std::size_t, std::size_t>(0, 0);
    };
    if (!one.settles) continue;
    EXPECT_EQ(cut(one.completion.substr(0, length + 1)), cut(one.completion)) << one.completion;
    EXPECT_NE(cut(one.completion).second, 0u) << one.completion;
  }
}

TEST(FunctionCut, LooksAtTheBeginningOfATextOnly) {
  const std::string body = "    x = 1\n" + std::string(2 * kFunctionCutBytesMax, '\n') + "    return x";
  EXPECT_EQ(python(body + "\nprint(1)\n"), "(none)") << "the function may go on where nobody looks";
  EXPECT_EQ(python("    x = '" + std::string(2 * kFunctionCutBytesMax, 'a') + "'\nprint(1)\n"), "(none)");
}

}  // namespace
}  // namespace quench::worker
