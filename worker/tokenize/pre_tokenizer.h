// The "pre_tokenizer" of a tokenizer.json: cuts a text into the words that BPE works on. Known:
// Sequence, ByteLevel, Split, Digits, Metaspace. Immutable; safe from any thread.
#pragma once

#include <memory>

#include "worker/tokenize/pattern.h"
#include "worker/tokenize/strict_json.h"

namespace quench::worker {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Cuts and rewrites `pieces`. Throws Error(bad_input) when a pattern exceeds its limits.
  virtual void apply(Pieces& pieces, MatchBudget& budget) const = 0;
};

// What a file says on the ▁ that Metaspace puts before a text, for its pre-tokenizer and its decoder.
struct MetaspaceOptions {
  enum class Prepend { always, first, never };
  std::string replacement;  // one character, usually ▁
  Prepend prepend = Prepend::always;
  bool split = true;

  // Knows the older `add_prefix_space` too.
  static MetaspaceOptions from_json(const JsonNode& node);
};

// `node` may be null: null is returned. Throws Error(bad_input) naming an unknown type.
std::unique_ptr<PreTokenizer> read_pre_tokenizer(const JsonNode& node);

}  // namespace quench::worker
