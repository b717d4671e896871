// The patterns of a tokenizer.json, matched by PCRE2 (this is its fence). Such files are written for
// Oniguruma's Ruby syntax; a construct that means something else in PCRE2 is refused by name.
// Patterns are hostile: compiling is bounded in size and nesting, each match in steps and memory, and
// all matches of one encode() in time, so that no pattern can hang a job. A Regex is immutable and may
// be used from any thread; a Matcher belongs to one thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;

namespace quench::worker {

// Real patterns have at most 1,000 bytes.
inline constexpr std::size_t kPatternBytesMax = 16384;
// Steps of one match: a bomb ends after 1 to 4 s. The patterns in use stay far below; even `\s+$` on 40,000
// spaces before a letter ends in 0.04 s.
inline constexpr std::uint32_t kMatchStepsMax = 50'000'000;
inline constexpr std::uint32_t kMatchHeapKibMax = 256 * 1024;

// The time that all matches of one encode() may take: 20 s, and 20 s more for every MB of text, which
// is a hundred times what the slowest known tokenizer needs.
class MatchBudget {
 public:
  explicit MatchBudget(std::size_t text_bytes);
  // `base` in place of the 20 s.
  MatchBudget(std::size_t text_bytes, std::chrono::steady_clock::duration base);
  // Throws Error(bad_input) when the time is up. Looks at the clock every few calls.
  void spend(const std::string& pattern);

 private:
  std::chrono::steady_clock::time_point deadline_;
  std::uint32_t calls_ = 0;
};

class Regex {
 public:
  // Throws Error(bad_input) quoting the pattern and saying what is wrong at which byte.
  explicit Regex(std::string pattern);
  const std::string& pattern() const { return pattern_; }
  // Whether the subject must be with_stand_ins() of the text.
  bool uses_categories() const { return uses_categories_; }

 private:
  friend class Matcher;
  struct FreeCode {
    void operator()(pcre2_real_code_8* code) const;
  };
  std::string pattern_;
  bool uses_categories_ = false;
  std::unique_ptr<pcre2_real_code_8, FreeCode> code_;
};

// Finds the matches of one pattern, from left to right, as Rust's onig::Regex::find_iter does: after
// an empty match at the end of the last match the search moves on by one character.
class Matcher {
 public:
  // `regex` and `budget` must outlive the matcher.
  Matcher(const Regex& regex, MatchBudget& budget);
  ~Matcher();
  Matcher(const Matcher&) = delete;
  Matcher& operator=(const Matcher&) = delete;

  // Starts over on `subject`: well-formed UTF-8 that outlives the search. Nothing outside it is seen,
  // not even by look-behind.
  void start(std::string_view subject);
  // The next match as [begin, end), or false. Throws Error(bad_input) when a limit is reached.
  bool next(std::size_t& begin, std::size_t& end);

 private:
  const Regex& regex_;
  MatchBudget& budget_;
  std::string_view subject_;
  std::size_t search_from_ = 0;
  std::size_t last_end_ = SIZE_MAX;
  pcre2_real_match_data_8* data_ = nullptr;
  pcre2_real_match_context_8* context_ = nullptr;
};

}  // namespace quench::worker
