// Continuous batching: requests wait in a queue, enter the batch as others end, and decode together, one
// token each per step. A completion is the same whatever the batch's size and the other requests are: a
// token's logits do not depend on its batch (transformer.h), and its randomness is keyed by the request.
// Knows no tokenizer: a callback gives each token's bytes. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "worker/generate/random_stream.h"
#include "worker/generate/sampler.h"
#include "worker/model/transformer.h"

namespace quench::worker {

struct GenerationRequest {
  std::uint64_t id = 0;              // the caller's, given back
  std::vector<std::int32_t> prompt;  // at least one token
  std::uint32_t max_new_tokens = 0;
  SamplingSettings sampling;
  SampleKey key;
  std::vector<std::string> stop_strings;  // none of them empty
  std::vector<std::int32_t> eos_ids;
  // Asked after every token with the text so far: true ends the completion, its text as it is. May be empty.
  std::function<bool(std::string_view text)> is_complete;
};

enum class FinishReason {
  end_of_text,   // one of eos_ids came
  stop_string,   // the text ends before it
  complete,      // the request's is_complete said so
  length,        // max_new_tokens were generated
  context_full,  // the model's context holds no further token, or not even the prompt
};
std::string_view to_string(FinishReason reason);

struct Completion {
  std::uint64_t id = 0;
  std::string text;                  // bytes of the new tokens, up to the stop string
  std::vector<std::int32_t> tokens;  // all new tokens without the end of text
  FinishReason reason = FinishReason::length;
};

// The bytes a token adds to a text; "" for special tokens that are no part of it.
using TokenBytes = std::function<std::string(std::int32_t token)>;

struct BatchLimits {
  std::uint32_t sequences_max = 32;  // in the batch at once
  std::uint32_t rows_max = 512;      // tokens per forward: prompts are prefilled in pieces
};

class BatchDecoder {
 public:
  BatchDecoder(Transformer& transformer, TokenBytes token_bytes, const BatchLimits& limits = {});
  ~BatchDecoder();

  // Queues a request. Throws Error(bad_input): an empty prompt, a token outside the vocabulary, an empty stop
  // string, impossible settings. A prompt longer than the context is no error: it completes at once as
  // context_full with an empty text.
  void add(GenerationRequest request);
  // Requests queued or decoding.
  std::size_t pending() const { return waiting_.size() + active_.size(); }
  // One forward over the batch; the requests that ended with it, in the order they were added.
  std::vector<Completion> step();
  // Steps until nothing is pending; completions in the order they ended.
  std::vector<Completion> run();

 private:
  struct Active;
  void admit(std::vector<Completion>& ended);
  bool take(Active& active, std::int32_t token) const;

  Transformer& transformer_;
  TokenBytes token_bytes_;
  BatchLimits limits_;
  Sampler sampler_;
  std::deque<GenerationRequest> waiting_;
  std::vector<std::unique_ptr<Active>> active_;
};

}  // namespace quench::worker
