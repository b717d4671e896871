#include "worker/quantize/aqlm/fine_tuning.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "schemas/error.h"
#include "worker/quantize/aqlm/exact_totals.h"
#include "worker/quantize/aqlm/seeded_draws.h"

namespace quench::worker {
namespace {

constexpr double kFirstDecay = 0.9, kSecondDecay = 0.95, kEpsilon = 1e-8;
// Bits that a gradient may grow by from one batch to the next before its batch is run again with a coarser unit.
constexpr int kHeadroomBits = 4;
// Before the first batch: every gradient is "too large", so that it is measured and run again.
constexpr std::int32_t kUnmeasured = -1000;

class Tuner {
 public:
  Tuner(cluster::Collective& gang, const QuantizeSpec& recipe, const TuningData& data, TrainedBlock& block)
      : gang_(gang),
        recipe_(recipe),
        data_(data),
        block_(block),
        first_(block.parameters().size(), 0.0),
        second_(first_.size(), 0.0),
        sums_(first_.size()) {
    exponents_.fill(kUnmeasured);
  }

  TuningResult run(const std::function<void(const std::string&)>& on_step) {
    const std::uint32_t validation = validation_count(recipe_, data_.sequences), training = data_.sequences - validation;
    TuningResult result;
    std::vector<float> best = block_.as_stored(), current = block_.parameters();
    block_.set_parameters(best);
    double least = validation_error(training);
    result.error_before = result.error_after = least;
    block_.set_parameters(current);
    SeededDraws draws(recipe_.seed + 1);
    std::vector<std::uint32_t> order(training);
    std::iota(order.begin(), order.end(), 0u);
    for (std::uint32_t epoch = 0, without = 0; epoch < recipe_.fine_tune_epochs && without < recipe_.patience; ++epoch) {
      for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[draws.below(i)]);
      for (std::size_t begin = 0; begin < order.size(); begin += recipe_.fine_tune_batch)
        step(std::span(order).subspan(begin, std::min<std::size_t>(recipe_.fine_tune_batch, order.size() - begin)));
      current = block_.parameters();
      std::vector<float> stored = block_.as_stored();
      block_.set_parameters(stored);
      const double error = validation_error(training);
      block_.set_parameters(current);
      ++result.epochs;
      ++without;
      if (error < least) {
        least = error;
        best = std::move(stored);
        without = 0;
      }
      char text[96];
      std::snprintf(text, sizeof text, "fine-tuning, epoch %u: validation error %.4g", epoch + 1, error);
      on_step(text);
    }
    block_.set_parameters(best);
    result.error_after = least;
    return result;
  }

 private:
  bool is_own(std::uint32_t sequence) const { return sequence >= data_.share.begin && sequence < data_.share.end; }
  kernels::ConstMatrixView rows_of(kernels::ConstMatrixView all, std::uint32_t sequence) const {
    return all.row_range((sequence - data_.share.begin) * data_.length, data_.length);
  }

  double validation_error(std::uint32_t first) {
    std::vector<double> own;
    for (std::uint32_t sequence = first; sequence < data_.sequences; ++sequence)
      if (is_own(sequence)) own.push_back(block_.squared_error(rows_of(data_.inputs, sequence), rows_of(data_.targets, sequence)));
    const double values = static_cast<double>(data_.sequences - first) * static_cast<double>(data_.length) *
                          static_cast<double>(data_.inputs.cols);
    return exact_total(gang_, own, "validation") / values;
  }

  // The gradient of the batch's mean squared error into sums_, in units_. Run again while a number is too large for its
  // unit; all ranks agree on that.
  void gradient(std::span<const std::uint32_t> batch) {
    const double weight = 1.0 / (static_cast<double>(batch.size()) * static_cast<double>(data_.length) *
                                 static_cast<double>(data_.inputs.cols));
    for (;;) {
      for (std::size_t k = 0; k < TrainedBlock::kTensors; ++k) {
        int addend_bits = 0;
        std::frexp(block_.tensors()[k].addends * static_cast<double>(batch.size()), &addend_bits);
        units_[k] = std::ldexp(1.0, 62 - addend_bits - kHeadroomBits - exponents_[k]);
        // A unit that no double has stands for "measure".
        if (!std::isfinite(units_[k])) units_[k] = 0;
      }
      std::fill(sums_.begin(), sums_.end(), 0);
      std::array<double, TrainedBlock::kTensors> largest{};
      for (const std::uint32_t sequence : batch)
        if (is_own(sequence))
          block_.add_gradient(rows_of(data_.inputs, sequence), rows_of(data_.targets, sequence), weight, units_, sums_, largest);
      std::array<std::int32_t, TrainedBlock::kTensors> found{};
      for (std::size_t k = 0; k < found.size(); ++k) {
        QUENCH_CHECK(std::isfinite(largest[k]), k);
        int exponent = kUnmeasured;
        if (largest[k] > 0) std::frexp(largest[k], &exponent);
        found[k] = exponent;
      }
      gang_.all_reduce_max(found, "gradient exponents");
      bool fits = true;
      for (std::size_t k = 0; k < found.size(); ++k) {
        fits = fits && (found[k] == kUnmeasured || (units_[k] > 0 && found[k] <= exponents_[k] + kHeadroomBits));
        if (found[k] != kUnmeasured) exponents_[k] = found[k];
      }
      if (!fits) continue;
      if (gang_.world() > 1) gang_.all_reduce_sum(sums_, "gradients");
      return;
    }
  }

  void step(std::span<const std::uint32_t> batch) {
    gradient(batch);
    first_power_ *= kFirstDecay;
    second_power_ *= kSecondDecay;
    std::vector<float> parameters = block_.parameters();
    for (std::size_t k = 0; k < TrainedBlock::kTensors; ++k) {
      const TrainedBlock::Tensor& tensor = block_.tensors()[k];
      for (std::size_t i = tensor.begin; i < tensor.begin + tensor.count; ++i) {
        const double g = units_[k] > 0 ? static_cast<double>(sums_[i]) / units_[k] : 0.0;
        first_[i] = kFirstDecay * first_[i] + (1 - kFirstDecay) * g;
        second_[i] = kSecondDecay * second_[i] + (1 - kSecondDecay) * g * g;
        const double mean = first_[i] / (1 - first_power_), square = second_[i] / (1 - second_power_);
        parameters[i] = static_cast<float>(static_cast<double>(parameters[i]) -
                                           recipe_.learning_rate * mean / (std::sqrt(square) + kEpsilon));
      }
    }
    block_.set_parameters(parameters);
  }

  cluster::Collective& gang_;
  const QuantizeSpec& recipe_;
  const TuningData& data_;
  TrainedBlock& block_;
  std::vector<double> first_, second_;
  std::vector<std::int64_t> sums_;
  std::array<double, TrainedBlock::kTensors> units_{};
  std::array<std::int32_t, TrainedBlock::kTensors> exponents_{};
  double first_power_ = 1, second_power_ = 1;
};

}  // namespace

std::uint32_t validation_count(const QuantizeSpec& recipe, std::uint32_t sequences) {
  QUENCH_CHECK(sequences >= 2 && recipe.validation_sequences < sequences, sequences, recipe.validation_sequences);
  return recipe.validation_sequences > 0 ? recipe.validation_sequences : std::max(1u, sequences / 8);
}

TuningResult tune_block(cluster::Collective& gang, const QuantizeSpec& recipe, const TuningData& data, TrainedBlock& block,
                        const std::function<void(const std::string&)>& on_step) {
  return Tuner(gang, recipe, data, block).run(on_step);
}

}  // namespace quench::worker
