// End-to-end fine-tuning as arXiv 2503.07103 does it: the codebooks, scales and norms of all blocks learn to give the original
// model's distribution of the next token (the mean Kullback-Leibler divergence from it over all tokens; tuner.h says how).
// Codes, embedding, final norm and head stay. What a forward keeps is each block's input; blocks are decoded one at a time
// and run again for the backward. Memory of a rank: the packed model, panels of the head twice, the final states of its
// sequences, and of those in a batch the inputs of all blocks. Compute thread; every rank calls together.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "worker/quantize/aqlm/tuner.h"
#include "worker/quantize/block_pipeline.h"
#include "worker/quantize/calibration.h"

namespace quench::worker {

// From final hidden states to logits, and back: what both models share.
class OutputHead {
 public:
  OutputHead(kernels::Backend& backend, const WeightSource& source);
  // out = norm(hidden): what a teacher's states are kept as.
  void normalize(kernels::ConstMatrixView hidden, kernels::MatrixView out);
  // The sum over tokens of the divergence of the distribution of `hidden` from that of `teacher`, which is normalized. `d`, when
  // it has data, becomes `weight` times its gradient by hidden.
  double divergence(kernels::ConstMatrixView hidden, kernels::ConstMatrixView teacher, double weight, kernels::MatrixView d);

 private:
  kernels::MatrixView logits_of(ActivationBuffer& into, kernels::ConstMatrixView normed);

  kernels::Backend& backend_;
  std::int64_t vocabulary_, width_;
  float epsilon_;
  std::vector<float> norm_;
  kernels::AlignedBuffer<float> panels_, transposed_;
  ActivationBuffer normed_, student_, teacher_, dnormed_;
};

// The whole model as a function of its blocks' parameters, block after block as TrainedBlock has them.
class TunedModel final : public TunedFunction {
 public:
  // `blocks` are all of codebook entries; `calibration` and `rope` outlive this. Runs this rank's sequences through the
  // original model.
  TunedModel(const GangContext& context, const kernels::RopeTable& rope, const CalibrationSet& calibration, std::vector<Block> blocks);

  const std::vector<float>& parameters() const override { return parameters_; }
  std::span<const TrainedBlock::Tensor> tensors() const override { return tensors_; }
  void set_parameters(std::span<const float> parameters) override { parameters_.assign(parameters.begin(), parameters.end()); }
  std::vector<float> as_stored() const override;
  double validation_error(std::uint32_t first) override;
  void gradient(std::span<const std::uint32_t> batch, std::span<std::int32_t> exponents, std::span<double> units,
                std::span<std::int64_t> sums) override;

  // Block `layer` with its parameters as they are.
  TrainedBlock block(std::uint32_t layer) const;

 private:
  bool is_own(std::uint32_t sequence) const { return sequence >= share_.begin && sequence < share_.end; }
  kernels::ConstMatrixView teacher(std::uint32_t sequence) const;
  std::size_t values() const { return static_cast<std::size_t>(calibration_.length) * width_; }

  const GangContext& context_;
  kernels::Backend& backend_;  // the host's
  const kernels::RopeTable& rope_;
  const CalibrationSet& calibration_;
  SequenceShare share_;
  std::size_t width_;
  std::vector<Block> blocks_;
  OutputHead head_;
  std::vector<float> parameters_;
  std::vector<TrainedBlock::Tensor> tensors_;
  std::vector<std::size_t> begins_;  // of each block's parameters, and where the last ends
  kernels::AlignedBuffer<float> teacher_;  // normalized final states of own sequences
};

// Leaves `model` with the best parameters.
TuningResult tune_model(const GangContext& context, const QuantizeSpec& recipe, const KeptFile& file, std::uint32_t sequences,
                        TunedModel& model, const std::function<void(const std::string&)>& on_step);

}  // namespace quench::worker
