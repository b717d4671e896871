#include "worker/tokenize/pre_tokenizer.h"

#include <vector>

#include "schemas/error.h"
#include "worker/tokenize/byte_alphabet.h"
#include "worker/tokenize/utf8.h"

namespace quench::worker {
namespace {

// GPT-2's words.
constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// The tokenizers library asks Rust's char::is_numeric, which is at Unicode 17; its regular expressions
// are at 16. These two ranges are the difference.
constexpr const char* kDigitPattern = R"([\p{N}\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6}])";

class SequencePreTokenizer final : public PreTokenizer {
 public:
  explicit SequencePreTokenizer(const JsonNode& node) {
    node.expect_keys({"type", "pretokenizers"});
    const JsonNode list = node.get("pretokenizers");
    for (std::size_t i = 0; i < list.size(); ++i) parts_.push_back(read_pre_tokenizer(list.at(i)));
  }
  void apply(Pieces& pieces, MatchBudget& budget) const override {
    for (const auto& part : parts_) {
      if (part) part->apply(pieces, budget);
    }
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

class ByteLevelPreTokenizer final : public PreTokenizer {
 public:
  explicit ByteLevelPreTokenizer(const JsonNode& node) {
    // trim_offsets moves offsets, never ids.
    node.expect_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    add_prefix_space_ = node.bool_or("add_prefix_space", true);
    if (node.bool_or("use_regex", true)) pattern_ = Pattern::regex(kGpt2Pattern);
  }

  void apply(Pieces& pieces, MatchBudget& budget) const override {
    if (add_prefix_space_) put_spaces_first(pieces);
    if (pattern_) pattern_->split(pieces, SplitBehavior::isolated, Pattern::Invert::no, budget);
    std::string mapped;
    mapped.reserve(pieces.text.size() + pieces.text.size() / 4);
    for (Piece& piece : pieces.cuts) {
      const std::size_t begin = mapped.size();
      append_byte_alphabet(mapped, pieces.view(piece));
      piece.begin = begin;
      piece.end = mapped.size();
    }
    pieces.text = std::move(mapped);
  }

 private:
  static void put_spaces_first(Pieces& pieces) {
    std::string text;
    for (Piece& piece : pieces.cuts) {
      const std::size_t begin = text.size();
      if (!pieces.view(piece).starts_with(' ')) text += ' ';
      text += pieces.view(piece);
      piece.begin = begin;
      piece.end = text.size();
    }
    pieces.text = std::move(text);
  }

  bool add_prefix_space_;
  std::optional<Pattern> pattern_;
};

SplitBehavior read_behavior(const JsonNode& node) {
  const std::string& name = node.as_string();
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  node.fail("the split behavior \"" + name +
            "\" is not known; known are Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
}

class SplitPreTokenizer final : public PreTokenizer {
 public:
  explicit SplitPreTokenizer(const JsonNode& node) : pattern_(Pattern::from_json(node.get("pattern"))) {
    node.expect_keys({"type", "pattern", "behavior", "invert"});
    behavior_ = read_behavior(node.get("behavior"));
    invert_ = node.bool_or("invert", false) ? Pattern::Invert::yes : Pattern::Invert::no;
  }
  void apply(Pieces& pieces, MatchBudget& budget) const override {
    pattern_.split(pieces, behavior_, invert_, budget);
  }

 private:
  Pattern pattern_;
  SplitBehavior behavior_;
  Pattern::Invert invert_;
};

class DigitsPreTokenizer final : public PreTokenizer {
 public:
  explicit DigitsPreTokenizer(const JsonNode& node) : pattern_(Pattern::regex(kDigitPattern)) {
    node.expect_keys({"type", "individual_digits"});
    const bool individual = node.bool_or("individual_digits", false);
    behavior_ = individual ? SplitBehavior::isolated : SplitBehavior::contiguous;
  }
  void apply(Pieces& pieces, MatchBudget& budget) const override {
    pattern_.split(pieces, behavior_, Pattern::Invert::no, budget);
  }

 private:
  Pattern pattern_;
  SplitBehavior behavior_;
};

class MetaspacePreTokenizer final : public PreTokenizer {
 public:
  explicit MetaspacePreTokenizer(const JsonNode& node)
      : options_(MetaspaceOptions::from_json(node)), pattern_(Pattern::literal(options_.replacement)) {}

  void apply(Pieces& pieces, MatchBudget& budget) const override {
    using Prepend = MetaspaceOptions::Prepend;
    std::string text;
    text.reserve(pieces.text.size() + pieces.text.size() / 2);
    for (Piece& piece : pieces.cuts) {
      const std::size_t begin = text.size();
      const std::string_view before = pieces.view(piece);
      const bool has_one = before.starts_with(' ') || before.starts_with(options_.replacement);
      const bool wanted =
          options_.prepend == Prepend::always || (options_.prepend == Prepend::first && piece.at_input_start);
      if (wanted && !has_one) text += options_.replacement;
      for (const char c : before) {
        if (c == ' ') {
          text += options_.replacement;
        } else {
          text += c;
        }
      }
      piece.begin = begin;
      piece.end = text.size();
    }
    pieces.text = std::move(text);
    if (options_.split) {
      pattern_.split(pieces, SplitBehavior::merged_with_next, Pattern::Invert::no, budget);
    }
  }

 private:
  MetaspaceOptions options_;
  Pattern pattern_;
};

}  // namespace

MetaspaceOptions MetaspaceOptions::from_json(const JsonNode& node) {
  node.expect_keys({"type", "replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep"});
  MetaspaceOptions options;
  const JsonNode replacement = node.get("replacement");
  options.replacement = replacement.as_string();
  if (options.replacement.empty() ||
      utf8_decode(options.replacement, 0).bytes != options.replacement.size()) {
    replacement.fail("expected one character");
  }
  if (node.has("str_rep") && node.get("str_rep").as_string() != options.replacement) {
    node.get("str_rep").fail("expected the same as \"replacement\"");
  }
  const bool prefix = node.bool_or("add_prefix_space", true);
  const std::string scheme = node.string_or("prepend_scheme", prefix ? "always" : "never");
  if (scheme == "always") {
    options.prepend = Prepend::always;
  } else if (scheme == "first") {
    options.prepend = Prepend::first;
  } else if (scheme == "never") {
    options.prepend = Prepend::never;
  } else {
    node.get("prepend_scheme")
        .fail("the prepend scheme \"" + scheme + "\" is not known; known are always, first, never");
  }
  if (!prefix && options.prepend != Prepend::never) {
    node.get("add_prefix_space").fail("false contradicts the prepend scheme \"" + scheme + "\"");
  }
  options.split = node.bool_or("split", true);
  return options;
}

std::unique_ptr<PreTokenizer> read_pre_tokenizer(const JsonNode& node) {
  if (node.is_null()) return nullptr;
  const JsonNode type = node.get("type");
  const std::string& name = type.as_string();
  if (name == "Sequence") return std::make_unique<SequencePreTokenizer>(node);
  if (name == "ByteLevel") return std::make_unique<ByteLevelPreTokenizer>(node);
  if (name == "Split") return std::make_unique<SplitPreTokenizer>(node);
  if (name == "Digits") return std::make_unique<DigitsPreTokenizer>(node);
  if (name == "Metaspace") return std::make_unique<MetaspacePreTokenizer>(node);
  type.fail("the pre-tokenizer \"" + name +
            "\" is not known; known are Sequence, ByteLevel, Split, Digits and Metaspace");
}

}  // namespace quench::worker
