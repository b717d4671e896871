// A Llama block of additive linears as a function of what fine-tuning changes (codebooks, scales, norms; codes stay), and
// its gradient. One sequence is a leaf: its forward and backward are fixed chains, every number it adds to a gradient is
// rounded once to a fixed point, and integers are added over sequences and ranks in any order (DESIGN.md section 3).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "schemas/model_config.h"
#include "worker/model/activation_buffer.h"
#include "worker/model/block.h"

namespace quench::worker {

// The parameters lie one after the other in this order: for each linear of the block its codebooks and its scales, then
// the norm before the attention and the one before the MLP. A tensor is one of these.
class TrainedBlock {
 public:
  struct Tensor {
    std::size_t begin = 0;
    std::size_t count = 0;
    double addends = 1;  // to one of its gradients, from one sequence
  };
  static constexpr std::size_t kTensors = 2 * kBlockLinears + 2;

  // All linears of `block` are additive. Entries are divided by a power of two near sqrt(inputs) and scales multiplied
  // by it, which makes them what the method's authors train: their learning rates belong to that form.
  TrainedBlock(kernels::Backend& backend, const ModelConfig& config, const kernels::RopeTable& rope, const Block& block);

  const std::vector<float>& parameters() const { return parameters_; }
  const std::array<Tensor, kTensors>& tensors() const { return tensors_; }
  // Takes other parameters.
  void set_parameters(std::span<const float> parameters);

  // The block's output for the sequence x [T, hidden], valid until the next call.
  kernels::ConstMatrixView output(kernels::ConstMatrixView x) { return forward(x); }
  // Behind output(x), with d the gradient of some error by the output: adds that by the parameters as add_gradient does, and
  // turns d into that by x.
  void add_backward(kernels::ConstMatrixView x, kernels::MatrixView d, std::span<const double> units,
                    std::span<std::int64_t> sums, std::span<double> largest);

  // Returns the sum of (output - target)².
  double squared_error(kernels::ConstMatrixView x, kernels::ConstMatrixView target);

  // Gradients of weight * squared_error: element i of tensor k times units[k], rounded, is added to sums[i], and
  // largest[k] becomes at least the largest addend. Returns squared_error.
  double add_gradient(kernels::ConstMatrixView x, kernels::ConstMatrixView target, double weight,
                      std::span<const double> units, std::span<std::int64_t> sums, std::span<double> largest);

  // Linear `which` with the parameters as they are, entries and scales rounded to fp16 (they should be fp16 already),
  // tile by tile for Linear::set_tile, and its codebooks.
  std::vector<std::uint8_t> codebooks(std::size_t which) const;
  std::vector<std::uint8_t> tile(std::size_t which, std::int64_t first_row, std::int64_t rows) const;
  AdditiveTileShape shape(std::size_t which) const { return linears_[which].shape; }
  std::span<const float> norm(std::size_t which) const;
  // Rounds codebooks and scales, not norms, to what an artifact holds.
  std::vector<float> as_stored() const;

 private:
  struct TrainedLinear {
    AdditiveTileShape shape;           // rows: outputs
    std::vector<std::uint16_t> codes;  // [panels][groups][codebooks][16]
    std::vector<float> padded_scales;  // [panels][16]
    kernels::AlignedBuffer<float> panels;      // ŵ [panels of outputs][inputs][16]
    kernels::AlignedBuffer<float> transposed;  // its transpose [panels of inputs][outputs][16]
  };
  // What a forward leaves for the backward.
  struct Activations {
    ActivationBuffer first_normed, q, k, v, attention, middle, second_normed, gate, up, product, out;
  };

  kernels::AdditiveView view(std::size_t which) const;
  kernels::MatrixView multiply(ActivationBuffer& out, kernels::ConstMatrixView x, const float* panels, std::int64_t outputs);
  void refresh();
  kernels::MatrixView forward(kernels::ConstMatrixView x);
  void attend(std::int64_t rows);
  void attend_backward(kernels::ConstMatrixView dout, kernels::MatrixView dq, kernels::MatrixView dk, kernels::MatrixView dv);
  void add_linear_gradient(std::size_t which, kernels::ConstMatrixView x, kernels::ConstMatrixView dy,
                           std::span<const double> units, std::span<std::int64_t> sums, std::span<double> largest);
  void add_norm_gradient(std::size_t tensor, std::span<const float> gradient, std::span<const double> units,
                         std::span<std::int64_t> sums, std::span<double> largest);

  kernels::Backend& backend_;
  const ModelConfig& config_;
  const kernels::RopeTable& rope_;
  kernels::RopeTable back_rope_;  // turns the other way
  std::array<TrainedLinear, kBlockLinears> linears_;
  std::array<Tensor, kTensors> tensors_;
  std::vector<float> parameters_;
  Activations kept_;
  ActivationBuffer scratch_[8];
  std::vector<std::int32_t> positions_;
};

}  // namespace quench::worker
