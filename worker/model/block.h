// One decoder block: its weights, and its forward over keys and values that are already cached.
//
//   hidden += o(attention(rope(q(n)), rope(k(n)), v(n)))   with n = norm(hidden)
//   hidden += down(silu(gate(m)) * up(m))                  with m = norm(hidden)
//
// with RMS norms; or LayerNorms, down(gelu(up(m))), biases and a window, as ModelConfig says.
// block_forward.h runs the same arithmetic stage by stage for the quantizer.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "schemas/model_config.h"
#include "worker/model/activation_buffer.h"
#include "worker/model/linear.h"
#include "worker/model/weights.h"

namespace quench::worker {

struct Block {
  std::array<Linear, kBlockLinears> linears;  // by role (BlockLinear)
  std::vector<float> attention_norm, attention_norm_bias;  // [hidden]; no bias of an RMS norm
  std::vector<float> mlp_norm, mlp_norm_bias;
  std::array<std::vector<float>, kBlockLinears> biases;  // empty where a linear has none
  // Where the block keeps one of its vectors.
  std::vector<float>& vector(const BlockVector& which);
  // Bytes of memory its weights take.
  std::size_t bytes() const;
};

// Reads the vectors of block `layer` into `block`.
void load_vectors(const WeightSource& source, std::uint32_t layer, Block& block);
// Reads block `layer` from any source, raw or packed, into the backend's `memory`. Throws what the source throws.
Block load_block(const WeightSource& source, std::uint32_t layer, kernels::Memory* memory = nullptr);

// What a forward needs beside the block. Refers to objects of the caller that outlive it; `rope` reaches
// every position used.
struct BlockContext {
  kernels::Backend& backend;
  const ModelConfig& config;
  const kernels::RopeTable& rope;
};

// Scratch of one forward, kept between calls.
struct BlockWorkspace {
  ActivationBuffer normed, q, k, v, attention, gate, up, product, gathered;
};

// The two halves' inputs and the halves themselves, each row by row independent of the others:
// out = norm(hidden) with the norm before the attention, or before the MLP.
void normalize(const BlockContext& context, kernels::ConstMatrixView x, std::span<const float> weight,
               std::span<const float> bias, kernels::MatrixView out);
void attention_norm(const BlockContext& context, const Block& block, kernels::ConstMatrixView hidden,
                    kernels::MatrixView out);
void mlp_norm(const BlockContext& context, const Block& block, kernels::ConstMatrixView hidden,
              kernels::MatrixView out);
// out [T, heads * head_dim] = the input of `o`. `positions[t]` is the place of row t in its sequence;
// `segments` name the rows of each sequence, whose caches take up the new keys and values.
void attention_output(const BlockContext& context, const Block& block, kernels::ConstMatrixView normed,
                      std::span<const std::int32_t> positions, std::span<const kernels::KvSegment> segments,
                      kernels::MatrixView out, BlockWorkspace& workspace);
// out [T, intermediate] = silu(gate(normed)) * up(normed), or gelu(up(normed)), the input of `down`.
void mlp_activation(const BlockContext& context, const Block& block, kernels::ConstMatrixView normed,
                    kernels::MatrixView out, BlockWorkspace& workspace);
// hidden += linear(input): the residual additions after `o` and `down`, whichever `role` is.
void add_projection(const BlockContext& context, const Block& block, BlockLinear role, kernels::ConstMatrixView input,
                    kernels::MatrixView hidden, BlockWorkspace& workspace);

// The whole block on hidden [T, hidden_size], in place.
void forward_block(const BlockContext& context, const Block& block, std::span<const std::int32_t> positions,
                   std::span<const kernels::KvSegment> segments, kernels::MatrixView hidden,
                   BlockWorkspace& workspace);

}  // namespace quench::worker
