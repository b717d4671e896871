// The "post_processor" of a tokenizer.json: which special tokens stand around a text. Known:
// TemplateProcessing, ByteLevel (moves offsets only), Sequence. Immutable; safe from any thread.
#pragma once

#include <vector>

#include "worker/tokenize/strict_json.h"
#include "worker/tokenize/tokenizer.h"

namespace quench::worker {

struct PostProcessor {
  std::vector<TokenId> before;
  std::vector<TokenId> after;
};

// `node` may be null. Throws Error(bad_input) naming an unknown type, a special token that the template
// does not define, a text that the template leaves out or repeats.
PostProcessor read_post_processor(const JsonNode& node);

}  // namespace quench::worker
