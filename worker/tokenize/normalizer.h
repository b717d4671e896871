// The "normalizer" of a tokenizer.json: rewrites a text before it is cut. Known: Sequence, Prepend,
// Replace. Immutable; safe from any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "worker/tokenize/pattern.h"
#include "worker/tokenize/strict_json.h"

namespace quench::worker {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Well-formed UTF-8 in and out.
  virtual std::string apply(std::string text, MatchBudget& budget) const = 0;
};

// `node` may be null: null is returned. Throws Error(bad_input) naming an unknown type.
std::unique_ptr<Normalizer> read_normalizer(const JsonNode& node);

}  // namespace quench::worker
