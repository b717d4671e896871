#include "worker/model/block.h"

#include <cmath>

#include "schemas/error.h"

namespace quench::worker {

namespace {

// y = x Wᵀ and the bias, where there is one.
void project(const BlockContext& context, const Block& block, BlockLinear role, kernels::ConstMatrixView x,
             kernels::MatrixView y, BlockWorkspace& workspace) {
  block.linears[role].forward(context.backend, x, y, workspace.gathered);
  if (!block.biases[role].empty()) context.backend.add_bias(block.biases[role].data(), y);
}

}  // namespace

std::vector<float>& Block::vector(const BlockVector& which) {
  switch (which.part) {
    case BlockVector::attention_norm:
      return attention_norm;
    case BlockVector::attention_norm_bias:
      return attention_norm_bias;
    case BlockVector::mlp_norm:
      return mlp_norm;
    case BlockVector::mlp_norm_bias:
      return mlp_norm_bias;
    case BlockVector::linear_bias:
      break;
  }
  return biases.at(which.linear);
}

std::size_t Block::bytes() const {
  std::size_t floats = attention_norm.size() + attention_norm_bias.size() + mlp_norm.size() + mlp_norm_bias.size();
  for (const std::vector<float>& bias : biases) floats += bias.size();
  std::size_t sum = floats * sizeof(float);
  for (const Linear& linear : linears) sum += linear.bytes();
  return sum;
}

void load_vectors(const WeightSource& source, std::uint32_t layer, Block& block) {
  for (const BlockVector& vector : block_vectors(source.config(), layer)) block.vector(vector) = read_tensor(source, vector.tensor);
}

Block load_block(const WeightSource& source, std::uint32_t layer, kernels::Memory* memory) {
  return in_context("block " + std::to_string(layer), [&] {
    Block block;
    for (const LinearShape& linear : block_linears(source.config(), layer))
      block.linears[linear.role] = Linear::load(source, linear.tensor, memory);
    load_vectors(source, layer, block);
    return block;
  });
}

void normalize(const BlockContext& context, kernels::ConstMatrixView x, std::span<const float> weight,
               std::span<const float> bias, kernels::MatrixView out) {
  const auto epsilon = static_cast<float>(context.config.norm_eps);
  if (context.config.layer_norm)
    context.backend.layer_norm(x, weight.data(), bias.data(), epsilon, out);
  else
    context.backend.rms_norm(x, weight.data(), epsilon, out);
}

void attention_norm(const BlockContext& context, const Block& block, kernels::ConstMatrixView hidden,
                    kernels::MatrixView out) {
  normalize(context, hidden, block.attention_norm, block.attention_norm_bias, out);
}

void mlp_norm(const BlockContext& context, const Block& block, kernels::ConstMatrixView hidden,
              kernels::MatrixView out) {
  normalize(context, hidden, block.mlp_norm, block.mlp_norm_bias, out);
}

void attention_output(const BlockContext& context, const Block& block, kernels::ConstMatrixView normed,
                      std::span<const std::int32_t> positions, std::span<const kernels::KvSegment> segments,
                      kernels::MatrixView out, BlockWorkspace& workspace) {
  kernels::Backend& backend = context.backend;
  const auto projected = [&](BlockLinear role, ActivationBuffer& buffer) {
    const kernels::MatrixView y = buffer.matrix(normed.rows, block.linears[role].outputs(), backend.memory());
    project(context, block, role, normed, y, workspace);
    return y;
  };
  const kernels::MatrixView q = projected(kQ, workspace.q);
  const kernels::MatrixView k = projected(kK, workspace.k);
  const kernels::MatrixView v = projected(kV, workspace.v);
  backend.rope(q, context.rope, positions);
  backend.rope(k, context.rope, positions);
  backend.append_kv(k, v, segments);
  // sqrt and the division are correctly rounded everywhere: no libm decides bits here.
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(context.config.head_dim)));
  if (const std::uint32_t window = context.config.sliding_window; window > 0)
    backend.window_attention(q, segments, scale, window, out);
  else
    backend.attention(q, segments, scale, out);
}

void mlp_activation(const BlockContext& context, const Block& block, kernels::ConstMatrixView normed,
                    kernels::MatrixView out, BlockWorkspace& workspace) {
  if (!context.config.gated_mlp) {
    project(context, block, kUp, normed, out, workspace);
    context.backend.gelu(out, out);
    return;
  }
  const kernels::MatrixView up = workspace.up.matrix(normed.rows, block.linears[kUp].outputs(), context.backend.memory());
  project(context, block, kGate, normed, out, workspace);
  project(context, block, kUp, normed, up, workspace);
  context.backend.silu_multiply(out, up, out);
}

void add_projection(const BlockContext& context, const Block& block, BlockLinear role, kernels::ConstMatrixView input,
                    kernels::MatrixView hidden, BlockWorkspace& workspace) {
  const kernels::MatrixView product = workspace.product.matrix(hidden.rows, hidden.cols, context.backend.memory());
  project(context, block, role, input, product, workspace);
  context.backend.add(product, hidden);
}

void forward_block(const BlockContext& context, const Block& block, std::span<const std::int32_t> positions,
                   std::span<const kernels::KvSegment> segments, kernels::MatrixView hidden,
                   BlockWorkspace& workspace) {
  kernels::Memory* const memory = context.backend.memory();
  const kernels::MatrixView normed = workspace.normed.matrix(hidden.rows, hidden.cols, memory);
  attention_norm(context, block, hidden, normed);
  const kernels::MatrixView attention = workspace.attention.matrix(hidden.rows, block.linears[kO].inputs(), memory);
  attention_output(context, block, normed, positions, segments, attention, workspace);
  add_projection(context, block, kO, attention, hidden, workspace);

  mlp_norm(context, block, hidden, normed);
  const kernels::MatrixView activation = workspace.gate.matrix(hidden.rows, block.linears[kDown].inputs(), memory);
  mlp_activation(context, block, normed, activation, workspace);
  add_projection(context, block, kDown, activation, hidden, workspace);
}

}  // namespace quench::worker
