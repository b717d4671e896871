// A whole model in memory: embedding, blocks, final norm and head, from fp or packed weights.
// A token's logits are the same bits whatever else is in its batch, and whether it came by prefill
// or by decoding. One call at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "worker/model/block.h"
#include "worker/model/kv_cache.h"

namespace quench::worker {

// One sequence's part in a forward: its newest tokens, behind those its cache already holds.
struct SequenceStep {
  SequenceCache* cache = nullptr;
  std::span<const std::int32_t> tokens;
};

enum class LogitRows {
  last,  // one row per step: what follows its last token
  all,   // one row per token
};

class Transformer {
 public:
  // Reads all tensors. `positions_max` bounds the context (0: the config's max_positions); `backend` outlives
  // this object. Throws what the source throws.
  Transformer(kernels::Backend& backend, const WeightSource& source, std::int64_t positions_max = 0);

  const ModelConfig& config() const { return config_; }
  kernels::Backend& backend() const { return backend_; }
  std::int64_t positions_max() const { return positions_max_; }
  // Bytes of memory the weights take.
  std::size_t weight_bytes() const;

  // Runs all steps as one batch, each at least one token; lengths may differ, prefill and decoding may be
  // mixed. Returns logits [rows, vocab_size] in the order of the steps, valid until the next call. Throws
  // Error(bad_input) for a token outside the vocabulary or a sequence beyond its cache or positions_max.
  kernels::ConstMatrixView forward(std::span<const SequenceStep> steps, LogitRows rows = LogitRows::last);

 private:
  void check_step(const SequenceStep& step) const;
  void reach_positions(std::int64_t positions);

  kernels::Backend& backend_;
  ModelConfig config_;
  std::int64_t positions_max_ = 0;
  kernels::RopeTable rope_;              // grows with the sequences: a config may promise 2^28 positions
  std::vector<std::uint8_t> embedding_;  // row-major as stored
  kernels::ElementType embedding_type_ = kernels::ElementType::f32;
  std::vector<Block> blocks_;
  std::vector<float> final_norm_, final_norm_bias_;
  Linear head_;
  BlockWorkspace workspace_;
  ActivationBuffer hidden_, selected_, logits_;
};

// The embedding rows of `tokens` as fp32, out [tokens, hidden_size]: the first block's input. Reads only the
// rows it needs, so quantizing never holds the table. Throws Error(bad_input) for a token outside the
// vocabulary.
void embed_tokens(const WeightSource& source, std::span<const std::int32_t> tokens, kernels::MatrixView out);

}  // namespace quench::worker
