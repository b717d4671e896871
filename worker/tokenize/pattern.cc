#include "worker/tokenize/pattern.h"

#include "schemas/error.h"
#include "worker/tokenize/unicode_updates.h"

namespace quench::worker {
namespace {

// Turns the parts of one piece into cuts, as the behavior says.
class CutWriter {
 public:
  CutWriter(std::vector<Piece>& out, const Piece& piece, SplitBehavior behavior)
      : out_(out), piece_(piece), behavior_(behavior) {}

  void add(std::size_t begin, std::size_t end, bool is_match) {
    switch (behavior_) {
      case SplitBehavior::removed:
        if (!is_match) cut(begin, end);
        break;
      case SplitBehavior::isolated:
        cut(begin, end);
        break;
      case SplitBehavior::contiguous:
        extend_if(any_ && is_match == last_is_match_, begin, end);
        break;
      case SplitBehavior::merged_with_previous:
        // A match joins what is before it, but not another match.
        extend_if(any_ && is_match && !last_is_match_, begin, end);
        break;
      case SplitBehavior::merged_with_next:
        extend_if(any_ && last_is_match_ && !is_match, begin, end);
        break;
    }
    any_ = true;
    last_is_match_ = is_match;
  }

  void finish() {
    if (open_) cut(open_begin_, open_end_);
  }

 private:
  void extend_if(bool extend, std::size_t begin, std::size_t end) {
    if (extend && open_) {
      open_end_ = end;
      return;
    }
    finish();
    open_ = true;
    open_begin_ = begin;
    open_end_ = end;
  }

  void cut(std::size_t begin, std::size_t end) {
    if (begin == end) return;
    out_.push_back({piece_.begin + begin, piece_.begin + end, piece_.at_input_start && begin == 0});
  }

  std::vector<Piece>& out_;
  const Piece piece_;
  const SplitBehavior behavior_;
  bool any_ = false;
  bool last_is_match_ = false;
  bool open_ = false;
  std::size_t open_begin_ = 0;
  std::size_t open_end_ = 0;
};

}  // namespace

Pattern Pattern::literal(std::string text) {
  if (text.empty()) throw Error(ErrorCode::bad_input, "an empty pattern: it would match everywhere");
  Pattern pattern;
  pattern.literal_ = std::move(text);
  return pattern;
}

Pattern Pattern::regex(std::string text) {
  Pattern pattern;
  pattern.regex_.emplace(std::move(text));
  return pattern;
}

Pattern Pattern::from_json(const JsonNode& node) {
  node.expect_keys({"String", "Regex"});
  if (node.size_of_object() != 1) node.fail("expected one of \"String\" and \"Regex\"");
  const bool is_regex = node.has("Regex");
  const JsonNode text = node.get(is_regex ? "Regex" : "String");
  try {
    return is_regex ? regex(text.as_string()) : literal(text.as_string());
  } catch (Error& error) {
    throw error.with_context("at " + text.pointer());
  }
}

template <typename Visit>
void Pattern::for_each_part(Matcher* matcher, std::string_view subject, Visit&& visit) const {
  std::size_t done = 0;
  const auto visit_match = [&](std::size_t begin, std::size_t end) {
    if (begin > done) visit(done, begin, false);
    visit(begin, end, true);
    done = end;
  };
  std::size_t begin = 0;
  std::size_t end = 0;
  if (matcher != nullptr) {
    matcher->start(subject);
    while (matcher->next(begin, end)) visit_match(begin, end);
  } else {
    while ((begin = subject.find(literal_, end)) != std::string_view::npos) {
      end = begin + literal_.size();
      visit_match(begin, end);
    }
  }
  if (done < subject.size()) visit(done, subject.size(), false);
}

void Pattern::split(Pieces& pieces, SplitBehavior behavior, Invert invert, MatchBudget& budget) const {
  std::optional<Matcher> matcher;
  std::string stand_ins;
  if (regex_) {
    matcher.emplace(*regex_, budget);
    if (regex_->uses_categories()) stand_ins = with_stand_ins(pieces.text);
  }
  const std::string_view text = stand_ins.empty() ? pieces.text : stand_ins;
  std::vector<Piece> cuts;
  cuts.reserve(pieces.cuts.size() * 2);
  for (const Piece& piece : pieces.cuts) {
    CutWriter writer(cuts, piece, behavior);
    for_each_part(matcher ? &*matcher : nullptr, text.substr(piece.begin, piece.end - piece.begin),
                  [&](std::size_t begin, std::size_t end, bool is_match) {
                    writer.add(begin, end, is_match != (invert == Invert::yes));
                  });
    writer.finish();
  }
  pieces.cuts = std::move(cuts);
}

std::string Pattern::replace_all(std::string_view text, std::string_view content, MatchBudget& budget) const {
  std::optional<Matcher> matcher;
  std::string stand_ins;
  if (regex_) {
    matcher.emplace(*regex_, budget);
    if (regex_->uses_categories()) stand_ins = with_stand_ins(text);
  }
  const std::string_view subject = stand_ins.empty() ? text : std::string_view(stand_ins);
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for_each_part(matcher ? &*matcher : nullptr, subject,
                [&](std::size_t begin, std::size_t end, bool is_match) {
                  out.append(is_match ? content : text.substr(begin, end - begin));
                });
  return out;
}

}  // namespace quench::worker
