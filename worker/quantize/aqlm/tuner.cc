#include "worker/quantize/aqlm/tuner.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <optional>

#include "schemas/error.h"
#include "worker/quantize/aqlm/seeded_draws.h"

namespace quench::worker {
namespace {

constexpr double kFirstDecay = 0.9, kSecondDecay = 0.95, kEpsilon = 1e-8;
// Bits that a gradient may grow by from one batch to the next before its batch is run again with a coarser unit.
constexpr int kHeadroomBits = 4;
// Before the first batch: every gradient is "too large", so that it is measured and run again.
constexpr std::int32_t kUnmeasured = -1000;

// All there is between two epochs.
struct State {
  std::uint32_t epochs = 0, without_gain = 0;
  double error_before = 0, least = 0;
  double first_power = 1, second_power = 1;  // Adam's decays to the number of steps
  std::uint64_t draws = 0;
  std::vector<std::uint32_t> order;     // of the training sequences
  std::vector<std::int32_t> exponents;  // of the gradients' units
  std::vector<float> current, best;     // parameters
  std::vector<double> first, second;    // Adam's moments
};

template <typename T>
std::span<const std::uint8_t> raw(const std::vector<T>& values) {
  return {reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(T)};
}

// One walk over the fields for both ways; the same build writes and reads.
template <typename Archive, typename AnyState>
void walk(Archive& archive, AnyState& state) {
  archive.number(state.epochs);
  archive.number(state.without_gain);
  archive.number(state.error_before);
  archive.number(state.least);
  archive.number(state.first_power);
  archive.number(state.second_power);
  archive.number(state.draws);
  archive.numbers(state.order);
  archive.numbers(state.exponents);
  archive.numbers(state.current);
  archive.numbers(state.best);
  archive.numbers(state.first);
  archive.numbers(state.second);
}

struct Writer {
  std::vector<std::uint8_t> bytes;
  template <typename T>
  void number(const T& value) {
    append({reinterpret_cast<const std::uint8_t*>(&value), sizeof value});
  }
  template <typename T>
  void numbers(const std::vector<T>& values) {
    number(std::uint64_t{values.size()});
    append(raw(values));
  }
  void append(std::span<const std::uint8_t> more) { bytes.insert(bytes.end(), more.begin(), more.end()); }
};

// Of bytes whose digest was right: they are what Writer wrote.
struct Reader {
  std::span<const std::uint8_t> left;
  template <typename T>
  void number(T& value) {
    take(&value, sizeof value);
  }
  template <typename T>
  void numbers(std::vector<T>& values) {
    std::uint64_t count = 0;
    number(count);
    QUENCH_CHECK(count <= left.size() / sizeof(T), count, left.size());
    values.resize(count);
    take(values.data(), count * sizeof(T));
  }
  void take(void* into, std::size_t bytes) {
    QUENCH_CHECK(bytes <= left.size(), bytes, left.size());
    if (bytes > 0) std::memcpy(into, left.data(), bytes);
    left = left.subspan(bytes);
  }
};

class Tuner {
 public:
  Tuner(cluster::Collective& gang, const TuningPlan& plan, const KeptFile& file, TunedFunction& tuned)
      : gang_(gang),
        plan_(plan),
        file_(file.begun_at(raw(tuned.parameters()))),
        tuned_(tuned),
        sums_(tuned.parameters().size()),
        units_(tuned.tensors().size()) {}

  TuningResult run(const std::function<void(std::uint32_t, double)>& on_epoch) {
    TuningResult result;
    if (const std::optional<std::vector<std::uint8_t>> kept = file_.load(gang_)) {
      Reader reader{*kept};
      walk(reader, state_);
      result.kept_epochs = state_.epochs;
      tuned_.set_parameters(state_.current);
    } else {
      begin();
    }
    while (state_.epochs < plan_.epochs && state_.without_gain < plan_.patience) {
      const double error = epoch();
      Writer writer;
      if (gang_.rank() == 0) walk(writer, state_);
      file_.save(gang_, writer.bytes);
      on_epoch(state_.epochs, error);
    }
    tuned_.set_parameters(state_.best);
    result.error_before = state_.error_before;
    result.error_after = state_.least;
    result.epochs = state_.epochs;
    return result;
  }

 private:
  void begin() {
    state_.current = tuned_.parameters();
    state_.best = tuned_.as_stored();
    state_.first.assign(state_.current.size(), 0.0);
    state_.second = state_.first;
    state_.exponents.assign(tuned_.tensors().size(), kUnmeasured);
    state_.draws = plan_.seed + 1;
    state_.order.resize(plan_.training);
    std::iota(state_.order.begin(), state_.order.end(), 0u);
    state_.error_before = state_.least = error_of(state_.best);
  }

  // The validation error that it ends with.
  double epoch() {
    std::vector<std::uint32_t>& order = state_.order;
    SeededDraws draws(state_.draws);
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[draws.below(i)]);
    state_.draws = draws.state();
    for (std::size_t begin = 0; begin < order.size(); begin += plan_.batch)
      step(std::span(order).subspan(begin, std::min<std::size_t>(plan_.batch, order.size() - begin)));
    state_.current = tuned_.parameters();
    std::vector<float> stored = tuned_.as_stored();
    const double error = error_of(stored);
    ++state_.epochs;
    ++state_.without_gain;
    if (error < state_.least) {
      state_.least = error;
      state_.best = std::move(stored);
      state_.without_gain = 0;
    }
    return error;
  }

  // The validation error of what would be stored; tuning goes on with the parameters.
  double error_of(std::span<const float> stored) {
    tuned_.set_parameters(stored);
    const double error = tuned_.validation_error(plan_.training);
    tuned_.set_parameters(state_.current);
    return error;
  }

  void step(std::span<const std::uint32_t> batch) {
    tuned_.gradient(batch, state_.exponents, units_, sums_);
    state_.first_power *= kFirstDecay;
    state_.second_power *= kSecondDecay;
    std::vector<float> parameters = tuned_.parameters();
    const std::span<const TrainedBlock::Tensor> tensors = tuned_.tensors();
    for (std::size_t k = 0; k < tensors.size(); ++k) {
      for (std::size_t i = tensors[k].begin; i < tensors[k].begin + tensors[k].count; ++i) {
        const double g = units_[k] > 0 ? static_cast<double>(sums_[i]) / units_[k] : 0.0;
        double &first = state_.first[i], &second = state_.second[i];
        first = kFirstDecay * first + (1 - kFirstDecay) * g;
        second = kSecondDecay * second + (1 - kSecondDecay) * g * g;
        const double mean = first / (1 - state_.first_power), square = second / (1 - state_.second_power);
        parameters[i] = static_cast<float>(static_cast<double>(parameters[i]) - plan_.learning_rate * mean / (std::sqrt(square) + kEpsilon));
      }
    }
    tuned_.set_parameters(parameters);
  }

  cluster::Collective& gang_;
  const TuningPlan& plan_;
  KeptFile file_;
  TunedFunction& tuned_;
  std::vector<std::int64_t> sums_;
  std::vector<double> units_;
  State state_;
};

}  // namespace

void set_units(std::span<const TrainedBlock::Tensor> tensors, std::span<const std::int32_t> exponents, std::size_t sequences,
               std::span<double> units) {
  for (std::size_t k = 0; k < tensors.size(); ++k) {
    int addend_bits = 0;
    std::frexp(tensors[k].addends * static_cast<double>(sequences), &addend_bits);
    units[k] = std::ldexp(1.0, 62 - addend_bits - kHeadroomBits - exponents[k]);
    // A unit that no double has stands for "measure".
    if (!std::isfinite(units[k])) units[k] = 0;
  }
}

bool take_exponents(cluster::Collective& gang, std::span<const double> largest, std::span<const double> units,
                    std::span<std::int32_t> exponents) {
  std::vector<std::int32_t> found(largest.size());
  for (std::size_t k = 0; k < found.size(); ++k) {
    QUENCH_CHECK(std::isfinite(largest[k]), k);
    int exponent = kUnmeasured;
    if (largest[k] > 0) std::frexp(largest[k], &exponent);
    found[k] = exponent;
  }
  gang.all_reduce_max(found, "gradient exponents");
  bool fits = true;
  for (std::size_t k = 0; k < found.size(); ++k) {
    fits = fits && (found[k] == kUnmeasured || (units[k] > 0 && found[k] <= exponents[k] + kHeadroomBits));
    if (found[k] != kUnmeasured) exponents[k] = found[k];
  }
  return fits;
}

std::uint32_t validation_count(const QuantizeSpec& recipe, std::uint32_t sequences) {
  QUENCH_CHECK(sequences >= 2 && recipe.validation_sequences < sequences, sequences, recipe.validation_sequences);
  return recipe.validation_sequences > 0 ? recipe.validation_sequences : std::max(1u, sequences / 8);
}

TuningResult tune(cluster::Collective& gang, const TuningPlan& plan, const KeptFile& file, TunedFunction& tuned,
                  const std::function<void(std::uint32_t epoch, double error)>& on_epoch) {
  return Tuner(gang, plan, file, tuned).run(on_epoch);
}

}  // namespace quench::worker
