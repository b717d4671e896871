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
  Tuner(cluster::Collective& gang, const QuantizeSpec& recipe, const TuningData& data, const TuningFile& file, TrainedBlock& block)
      : gang_(gang), recipe_(recipe), data_(data), file_(file), block_(block), sums_(block.parameters().size()) {}

  TuningResult run(const std::function<void(const std::string&)>& on_step) {
    const std::uint32_t training = data_.sequences - validation_count(recipe_, data_.sequences);
    const std::vector<float> start = block_.parameters();
    TuningResult result;
    if (std::optional<TuningState> kept = file_.load(gang_, start)) {
      state_ = std::move(*kept);
      result.kept_epochs = state_.epochs;
      block_.set_parameters(state_.current);
    } else {
      begin(training);
    }
    while (state_.epochs < recipe_.fine_tune_epochs && state_.without_gain < recipe_.patience) {
      const double error = epoch(training);
      char text[96];
      std::snprintf(text, sizeof text, "fine-tuning, epoch %u: validation error %.4g", state_.epochs, error);
      file_.save(gang_, start, state_);
      on_step(text);
    }
    block_.set_parameters(state_.best);
    result.error_before = state_.error_before;
    result.error_after = state_.least;
    result.epochs = state_.epochs;
    return result;
  }

 private:
  void begin(std::uint32_t training) {
    state_.current = block_.parameters();
    state_.best = block_.as_stored();
    state_.first.assign(state_.current.size(), 0.0);
    state_.second = state_.first;
    state_.exponents.assign(TrainedBlock::kTensors, kUnmeasured);
    state_.draws = recipe_.seed + 1;
    state_.order.resize(training);
    std::iota(state_.order.begin(), state_.order.end(), 0u);
    state_.error_before = state_.least = error_of(state_.best, training);
  }

  // The validation error that it ends with.
  double epoch(std::uint32_t training) {
    std::vector<std::uint32_t>& order = state_.order;
    SeededDraws draws(state_.draws);
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[draws.below(i)]);
    state_.draws = draws.state();
    for (std::size_t begin = 0; begin < order.size(); begin += recipe_.fine_tune_batch)
      step(std::span(order).subspan(begin, std::min<std::size_t>(recipe_.fine_tune_batch, order.size() - begin)));
    state_.current = block_.parameters();
    std::vector<float> stored = block_.as_stored();
    const double error = error_of(stored, training);
    ++state_.epochs;
    ++state_.without_gain;
    if (error < state_.least) {
      state_.least = error;
      state_.best = std::move(stored);
      state_.without_gain = 0;
    }
    return error;
  }

  // The validation error of what would be stored; the block goes on with its parameters.
  double error_of(std::span<const float> stored, std::uint32_t training) {
    block_.set_parameters(stored);
    const double error = validation_error(training);
    block_.set_parameters(state_.current);
    return error;
  }

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
        units_[k] = std::ldexp(1.0, 62 - addend_bits - kHeadroomBits - state_.exponents[k]);
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
        fits = fits && (found[k] == kUnmeasured || (units_[k] > 0 && found[k] <= state_.exponents[k] + kHeadroomBits));
        if (found[k] != kUnmeasured) state_.exponents[k] = found[k];
      }
      if (!fits) continue;
      if (gang_.world() > 1) gang_.all_reduce_sum(sums_, "gradients");
      return;
    }
  }

  void step(std::span<const std::uint32_t> batch) {
    gradient(batch);
    state_.first_power *= kFirstDecay;
    state_.second_power *= kSecondDecay;
    std::vector<float> parameters = block_.parameters();
    for (std::size_t k = 0; k < TrainedBlock::kTensors; ++k) {
      const TrainedBlock::Tensor& tensor = block_.tensors()[k];
      for (std::size_t i = tensor.begin; i < tensor.begin + tensor.count; ++i) {
        const double g = units_[k] > 0 ? static_cast<double>(sums_[i]) / units_[k] : 0.0;
        state_.first[i] = kFirstDecay * state_.first[i] + (1 - kFirstDecay) * g;
        state_.second[i] = kSecondDecay * state_.second[i] + (1 - kSecondDecay) * g * g;
        const double mean = state_.first[i] / (1 - state_.first_power), square = state_.second[i] / (1 - state_.second_power);
        parameters[i] = static_cast<float>(static_cast<double>(parameters[i]) -
                                           recipe_.learning_rate * mean / (std::sqrt(square) + kEpsilon));
      }
    }
    block_.set_parameters(parameters);
  }

  cluster::Collective& gang_;
  const QuantizeSpec& recipe_;
  const TuningData& data_;
  const TuningFile& file_;
  TrainedBlock& block_;
  std::vector<std::int64_t> sums_;
  std::array<double, TrainedBlock::kTensors> units_{};
  TuningState state_;
};

}  // namespace

std::uint32_t validation_count(const QuantizeSpec& recipe, std::uint32_t sequences) {
  QUENCH_CHECK(sequences >= 2 && recipe.validation_sequences < sequences, sequences, recipe.validation_sequences);
  return recipe.validation_sequences > 0 ? recipe.validation_sequences : std::max(1u, sequences / 8);
}

TuningResult tune_block(cluster::Collective& gang, const QuantizeSpec& recipe, const TuningData& data, const TuningFile& file,
                        TrainedBlock& block, const std::function<void(const std::string&)>& on_step) {
  return Tuner(gang, recipe, data, file, block).run(on_step);
}

}  // namespace quench::worker
