#include "worker/model/block.h"

#include <cmath>

#include "schemas/error.h"

namespace quench::worker {

Block load_block(const WeightSource& source, std::uint32_t layer, kernels::Memory* memory) {
  return in_context("block " + std::to_string(layer), [&] {
    Block block;
    const std::vector<LinearShape> shapes = block_linears(source.config(), layer);
    QUENCH_CHECK(shapes.size() == kBlockLinears, shapes.size());
    for (std::size_t i = 0; i < kBlockLinears; ++i) block.linears[i] = Linear::load(source, shapes[i].tensor, memory);
    const std::vector<std::string> norms = block_norms(layer);
    QUENCH_CHECK(norms.size() == 2, norms.size());
    block.attention_norm = read_tensor(source, norms[0]);
    block.mlp_norm = read_tensor(source, norms[1]);
    return block;
  });
}

void attention_norm(const BlockContext& context, const Block& block, kernels::ConstMatrixView hidden,
                    kernels::MatrixView out) {
  context.backend.rms_norm(hidden, block.attention_norm.data(),
                           static_cast<float>(context.config.rms_norm_eps), out);
}

void mlp_norm(const BlockContext& context, const Block& block, kernels::ConstMatrixView hidden,
              kernels::MatrixView out) {
  context.backend.rms_norm(hidden, block.mlp_norm.data(), static_cast<float>(context.config.rms_norm_eps),
                           out);
}

void attention_output(const BlockContext& context, const Block& block, kernels::ConstMatrixView normed,
                      std::span<const std::int32_t> positions, std::span<const kernels::KvSegment> segments,
                      kernels::MatrixView out, BlockWorkspace& workspace) {
  kernels::Backend& backend = context.backend;
  const auto project = [&](BlockLinear index, ActivationBuffer& buffer) {
    const Linear& linear = block.linears[index];
    const kernels::MatrixView y = buffer.matrix(normed.rows, linear.outputs(), backend.memory());
    linear.forward(backend, normed, y, workspace.gathered);
    return y;
  };
  const kernels::MatrixView q = project(kQ, workspace.q);
  const kernels::MatrixView k = project(kK, workspace.k);
  const kernels::MatrixView v = project(kV, workspace.v);
  backend.rope(q, context.rope, positions);
  backend.rope(k, context.rope, positions);
  backend.append_kv(k, v, segments);
  // sqrt and the division are correctly rounded everywhere: no libm decides bits here.
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(context.config.head_dim)));
  backend.attention(q, segments, scale, out);
}

void mlp_activation(const BlockContext& context, const Block& block, kernels::ConstMatrixView normed,
                    kernels::MatrixView out, BlockWorkspace& workspace) {
  const kernels::MatrixView up = workspace.up.matrix(normed.rows, block.linears[kUp].outputs(), context.backend.memory());
  block.linears[kGate].forward(context.backend, normed, out, workspace.gathered);
  block.linears[kUp].forward(context.backend, normed, up, workspace.gathered);
  context.backend.silu_multiply(out, up, out);
}

void add_projection(const BlockContext& context, const Linear& linear, kernels::ConstMatrixView input,
                    kernels::MatrixView hidden, BlockWorkspace& workspace) {
  const kernels::MatrixView product = workspace.product.matrix(hidden.rows, hidden.cols, context.backend.memory());
  linear.forward(context.backend, input, product, workspace.gathered);
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
  add_projection(context, block.linears[kO], attention, hidden, workspace);

  mlp_norm(context, block, hidden, normed);
  const kernels::MatrixView activation = workspace.gate.matrix(hidden.rows, block.linears[kDown].inputs(), memory);
  mlp_activation(context, block, normed, activation, workspace);
  add_projection(context, block.linears[kDown], activation, hidden, workspace);
}

}  // namespace quench::worker
