// A pattern of a tokenizer.json ({"String": …} or {"Regex": …}) and what a split does with its
// matches. Immutable; safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "worker/tokenize/pieces.h"
#include "worker/tokenize/regex.h"
#include "worker/tokenize/strict_json.h"

namespace quench::worker {

// What becomes of a match: dropped, a piece of its own, glued to the piece before or after it; or
// runs of matches and of what is between them become one piece each.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

// A part of a text: all parts in order make up the text.
struct PatternPart {
  std::size_t begin;
  std::size_t end;
  bool is_match;
};

class Pattern {
 public:
  static Pattern literal(std::string text);
  static Pattern regex(std::string pattern);
  // `node` is {"String": …} or {"Regex": …}.
  static Pattern from_json(const JsonNode& node);

  // The literal, when it is one.
  const std::string* literal_text() const { return regex_ ? nullptr : &literal_; }

  // Cuts every piece by the matches in it. `invert` (yes: what is between the matches counts as
  // the match) as the file says. Throws Error(bad_input) when a limit of the regex is reached.
  enum class Invert { no, yes };
  void split(Pieces& pieces, SplitBehavior behavior, Invert invert, MatchBudget& budget) const;

  // `text` with every match replaced by `content`.
  std::string replace_all(std::string_view text, std::string_view content, MatchBudget& budget) const;

 private:
  Pattern() = default;
  template <typename Visit>
  void for_each_part(Matcher* matcher, std::string_view subject, Visit&& visit) const;
  std::string literal_;
  std::optional<Regex> regex_;
};

}  // namespace quench::worker
