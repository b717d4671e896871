#include "worker/calibration/benchmark_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <functional>
#include <optional>
#include <set>
#include <utility>

#include "worker/calibration/words.h"
#include "worker/evaluate/problems.h"

namespace quench::worker {
namespace {

constexpr std::size_t kRunWords = 10;
constexpr std::size_t kTellingWordsMin = 4;
constexpr std::size_t kTellingBesideDefinition = 2;
constexpr std::size_t kTellingLettersMin = 3;
constexpr std::size_t kNameBytesMin = 8;
constexpr std::size_t kProblemsMax = 4;
constexpr std::size_t kSomeBits = std::size_t{1} << 23;

// What all code in Python or Java is made of, the methods every class has among it: five of these are
// nobody's.
constexpr std::array<std::string_view, 76> kCommonWords{
    "abstract",   "append", "args",       "arraylist", "arrays",   "assert",   "boolean", "break",
    "case",       "catch",  "char",       "class",     "continue", "def",      "dict",    "double",
    "elif",       "else",   "enum",       "equals",    "except",   "extends",  "false",   "final",
    "finally",    "float",  "for",        "from",      "getclass", "hashcode", "hashmap", "hashset",
    "implements", "import", "instanceof", "int",       "integer",  "java",     "lambda",  "len",
    "length",     "list",   "long",       "main",      "map",      "new",      "none",    "not",
    "null",       "obj",    "object",     "objects",   "other",    "override", "package", "private",
    "public",     "range",  "return",     "self",      "set",      "size",     "static",  "str",
    "string",     "super",  "system",     "that",      "this",     "throw",    "throws",  "tostring",
    "true",       "util",   "void",       "while"};

bool is_common(std::string_view word) {
  std::string lower(word);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::binary_search(kCommonWords.begin(), kCommonWords.end(), lower);
}

bool is_telling(std::string_view word) {
  if (is_common(word)) return false;
  return std::count_if(word.begin(), word.end(), [](unsigned char c) { return std::isalpha(c) != 0; }) >=
         static_cast<std::ptrdiff_t>(kTellingLettersMin);
}

// Calls `on_run(hash)` for the runs of `text` that say something.
template <typename OnRun>
void for_each_telling_run(std::string_view text, const std::set<std::string, std::less<>>& names,
                          std::string_view entry_point, OnRun&& on_run) {
  struct Seen {
    std::uint64_t hash;
    bool is_telling, is_name, is_definition;
  };
  std::array<Seen, kRunWords> recent{};  // a ring: each word is looked at once, not once for each run that has it
  std::size_t count = 0;
  bool is_after_def = false;
  WordRuns runs(kRunWords);
  for_each_word(text, [&](const Word& word) {
    recent[count++ % kRunWords] = {word.hash, is_telling(word.text), names.contains(word.text),
                                   is_after_def && word.text == entry_point};
    is_after_def = word.text == "def";
    if (!runs.add(word.hash)) return;
    std::array<std::uint64_t, kRunWords> telling{};
    std::size_t different = 0;
    bool named = false, defined = false;
    for (std::size_t i = 0; i < kRunWords; ++i) {
      const Seen& seen = recent[i];
      const auto end = telling.begin() + static_cast<std::ptrdiff_t>(different);
      if (seen.is_telling && std::find(telling.begin(), end, seen.hash) == end) telling[different++] = seen.hash;
      named = named || seen.is_name;
      // The oldest word's "def" is not of the run any more.
      defined = defined || (seen.is_definition && i != count % kRunWords);
    }
    // A definition of a short name ("def median") is told by what stands around it.
    if (different >= kTellingWordsMin || named || (defined && different >= kTellingBesideDefinition)) on_run(runs.hash());
  });
}

// Of the functions that the problem is about: the one it names, and those that its solution defines (MBPP
// names none). Short names and those of one word are not telling: "solution", "add".
std::set<std::string, std::less<>> names_of(const Problem& problem) {
  std::set<std::string, std::less<>> names;
  const auto take = [&](std::string_view name) {
    if (name.size() >= kNameBytesMin && name.find('_') != std::string_view::npos) names.emplace(name);
  };
  take(problem.entry_point);
  bool is_defined = false;
  for_each_word(problem.canonical_solution, [&](const Word& word) {
    if (is_defined) take(word.text);
    is_defined = word.text == "def";
  });
  return names;
}

bool has_extended_tests(Benchmark benchmark) {
  return benchmark == Benchmark::humaneval_plus || benchmark == Benchmark::mbpp_plus;
}

}  // namespace

const BenchmarkText& BenchmarkText::shipped() {
  static const BenchmarkText text;
  return text;
}

BenchmarkText::BenchmarkText() : some_(kSomeBits, false) {
  Hasher hasher;
  for (const Benchmark benchmark : all_benchmarks()) {
    for (const Language language : languages_of(benchmark)) {
      const ProblemSet set = shipped_problems(benchmark, language);
      hasher.update(set.digest().span());
      // How many problems of this file have a run, and the first of them.
      std::unordered_map<std::uint64_t, std::pair<std::uint32_t, std::uint32_t>> of_file;
      for (const Problem& problem : set.problems()) {
        const auto task = static_cast<std::uint32_t>(tasks_.size());
        tasks_.push_back(std::string(to_string(benchmark)) + " " + problem.task_id);
        std::set<std::uint64_t> own;
        const std::set<std::string, std::less<>> names = names_of(problem);
        const auto take = [&](std::string_view text) {
          for_each_telling_run(text, names, problem.entry_point, [&](std::uint64_t run) { own.insert(run); });
        };
        take(problem.prompt);
        take(problem.canonical_solution);
        take(problem.prompt + problem.canonical_solution);
        if (!has_extended_tests(benchmark)) take(problem.test);
        for (const std::uint64_t run : own) ++of_file.try_emplace(run, 0u, task).first->second.first;
      }
      for (const auto& [run, found] : of_file) {
        if (found.first > kProblemsMax) continue;
        // The smallest index, whatever the order of a hash table.
        const auto [entry, is_new] = runs_.try_emplace(run, found.second);
        if (!is_new) entry->second = std::min(entry->second, found.second);
        some_[run % kSomeBits] = true;
      }
    }
  }
  digest_ = hasher.finish();
}

std::string_view BenchmarkText::find(std::string_view text) const {
  WordRuns runs(kRunWords);
  std::optional<std::uint32_t> task;
  for_each_word(text, [&](const Word& word) {
    if (task || !runs.add(word.hash)) return;
    const std::uint64_t run = runs.hash();
    if (!some_[run % kSomeBits]) return;
    if (const auto found = runs_.find(run); found != runs_.end()) task = found->second;
  });
  return task ? std::string_view(tasks_[*task]) : std::string_view();
}

}  // namespace quench::worker
