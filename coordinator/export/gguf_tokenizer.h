// A model's tokenizer in llama.cpp's words: what of tokenizer.json or tokenizer.model its GGUF keys can say, such that
// llama.cpp gives the ids that this engine gives. The rest is refused:
//
//   gpt2   byte-level BPE whose way of splitting text llama.cpp knows by a name ("qwen2", "starcoder", …)
//   llama  SentencePiece's BPE, from its own file or from a tokenizer.json whose merges are those of scores
//
// Known to differ: llama.cpp puts no text into Unicode's form C, which Qwen2 does, and of two ways to make one token takes
// the left one first where tokenizer.json has an order.
#pragma once

#include <string>

#include "coordinator/export/gguf_metadata.h"
#include "schemas/model_config.h"

namespace quench::coordinator {

// The texts of the files; empty: not there. tokenizer.model counts where there is no tokenizer.json, as for the engine.
struct TokenizerFiles {
  std::string tokenizer_json, tokenizer_model, tokenizer_config, special_tokens_map;
};

// Throws Error(bad_input) saying what llama.cpp could not do as the tokenizer's files ask.
void put_tokenizer(const TokenizerFiles& files, const ModelConfig& config, GgufMetadata& metadata);

}  // namespace quench::coordinator
