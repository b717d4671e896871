// The "decoder" of a tokenizer.json: turns tokens back into text. Known: ByteLevel, Metaspace,
// Sequence, Replace, ByteFallback, Fuse, Strip. Immutable; safe from any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "worker/tokenize/strict_json.h"

namespace quench::worker {

// One token on its way to text. `literal` (an added token, found in the text as it is) is not
// translated from an alphabet that it was never written in; the tokenizers library does that and turns
// DeepSeek's token ü into an ill-formed byte.
struct DecodedToken {
  std::string text;
  bool literal = false;
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  // The whole sequence: each step may join tokens. Their texts joined are the result; it may be
  // ill-formed UTF-8.
  virtual void decode(std::vector<DecodedToken>& tokens) const = 0;
  // The bytes of one token in the middle of a text: what depends on neighbours is left out.
  virtual std::string token_bytes(const DecodedToken& token) const = 0;
};

// `node` may be null: null is returned. Throws Error(bad_input) naming an unknown type.
std::unique_ptr<Decoder> read_decoder(const JsonNode& node);

}  // namespace quench::worker
