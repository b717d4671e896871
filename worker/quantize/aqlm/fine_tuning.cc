#include "worker/quantize/aqlm/fine_tuning.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "worker/quantize/aqlm/exact_totals.h"

namespace quench::worker {
namespace {

// The mean squared error of a block's output.
class TunedBlock final : public TunedFunction {
 public:
  TunedBlock(cluster::Collective& gang, const TuningData& data, TrainedBlock& block) : gang_(gang), data_(data), block_(block) {}

  const std::vector<float>& parameters() const override { return block_.parameters(); }
  std::span<const TrainedBlock::Tensor> tensors() const override { return block_.tensors(); }
  void set_parameters(std::span<const float> parameters) override { block_.set_parameters(parameters); }
  std::vector<float> as_stored() const override { return block_.as_stored(); }

  double validation_error(std::uint32_t first) override {
    std::vector<double> own;
    for (std::uint32_t sequence = first; sequence < data_.sequences; ++sequence)
      if (is_own(sequence)) own.push_back(block_.squared_error(rows_of(data_.inputs, sequence), rows_of(data_.targets, sequence)));
    return exact_total(gang_, own, "validation") / values_of(data_.sequences - first);
  }

  void gradient(std::span<const std::uint32_t> batch, std::span<std::int32_t> exponents, std::span<double> units,
                std::span<std::int64_t> sums) override {
    std::array<double, TrainedBlock::kTensors> largest;
    do {
      set_units(tensors(), exponents, batch.size(), units);
      std::fill(sums.begin(), sums.end(), 0);
      largest.fill(0);
      for (const std::uint32_t sequence : batch)
        if (is_own(sequence))
          block_.add_gradient(rows_of(data_.inputs, sequence), rows_of(data_.targets, sequence), 1.0 / values_of(batch.size()), units, sums,
                              largest);
    } while (!take_exponents(gang_, largest, units, exponents));
    if (gang_.world() > 1) gang_.all_reduce_sum(sums, "gradients");
  }

 private:
  bool is_own(std::uint32_t sequence) const { return sequence >= data_.share.begin && sequence < data_.share.end; }
  kernels::ConstMatrixView rows_of(kernels::ConstMatrixView all, std::uint32_t sequence) const {
    return all.row_range((sequence - data_.share.begin) * data_.length, data_.length);
  }
  double values_of(std::size_t sequences) const {
    return static_cast<double>(sequences) * static_cast<double>(data_.length) * static_cast<double>(data_.inputs.cols);
  }

  cluster::Collective& gang_;
  const TuningData& data_;
  TrainedBlock& block_;
};

}  // namespace

TuningResult tune_block(cluster::Collective& gang, const QuantizeSpec& recipe, const TuningData& data, const KeptFile& file,
                        TrainedBlock& block, const std::function<void(const std::string&)>& on_step) {
  TunedBlock tuned(gang, data, block);
  const TuningPlan plan{recipe.fine_tune_epochs, recipe.fine_tune_batch, recipe.patience,
                        recipe.learning_rate,    recipe.seed,            data.sequences - validation_count(recipe, data.sequences)};
  return tune(gang, plan, file, tuned, [&](std::uint32_t epoch, double error) {
    char text[96];
    std::snprintf(text, sizeof text, "fine-tuning, epoch %u: validation error %.4g", epoch, error);
    on_step(text);
  });
}

}  // namespace quench::worker
