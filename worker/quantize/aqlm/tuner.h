// Adam (0.9, 0.95) on the parameters of something that is quantized, a block or a whole model: the last calibration sequences
// are for validation; it ends when so many epochs brought nothing; what validated best is kept, as it will be stored, and
// that may be where it started. Gradients are exact sums, so every rank steps alike, and the result does not depend on the
// number of ranks. After each epoch the state is kept in a file, from which it goes on. Compute thread; collective.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cluster/collective/collective.h"
#include "schemas/job_spec.h"
#include "worker/quantize/aqlm/block_gradient.h"
#include "worker/quantize/aqlm/kept_file.h"

namespace quench::worker {

class TunedFunction {
 public:
  virtual ~TunedFunction() = default;
  virtual const std::vector<float>& parameters() const = 0;
  virtual std::span<const TrainedBlock::Tensor> tensors() const = 0;
  virtual void set_parameters(std::span<const float> parameters) = 0;
  // Parameters rounded to what an artifact holds.
  virtual std::vector<float> as_stored() const = 0;
  // The mean error of the sequences from `first` on. Collective.
  virtual double validation_error(std::uint32_t first) = 0;
  // The gradient of the batch's mean error: element i of tensor k times units[k], rounded and added over all ranks.
  // exponents[k] is that of the largest addend of the batch before, and of this one afterwards. Collective.
  virtual void gradient(std::span<const std::uint32_t> batch, std::span<std::int32_t> exponents, std::span<double> units,
                        std::span<std::int64_t> sums) = 0;
};

// Sets the units that these exponents leave room for.
void set_units(std::span<const TrainedBlock::Tensor> tensors, std::span<const std::int32_t> exponents, std::size_t sequences,
               std::span<double> units);
// Takes the exponents of the largest addends over all ranks; false where one is too large for its unit: the batch is to be run
// again with units of the new exponents. Collective.
bool take_exponents(cluster::Collective& gang, std::span<const double> largest, std::span<const double> units,
                    std::span<std::int32_t> exponents);

struct TuningPlan {
  std::uint32_t epochs = 0, batch = 1, patience = 1;
  double learning_rate = 0;
  std::uint64_t seed = 0;
  std::uint32_t training = 0;  // sequences 0 … training-1; those behind them validate
};

struct TuningResult {
  double error_before = 0;  // of the validation sequences
  double error_after = 0;
  std::uint32_t epochs = 0;       // that were run
  std::uint32_t kept_epochs = 0;  // of them before an interruption
};

// How many of `sequences` are for validation.
std::uint32_t validation_count(const QuantizeSpec& recipe, std::uint32_t sequences);

// Leaves `tuned` with the best parameters; `on_epoch` is told of each epoch.
TuningResult tune(cluster::Collective& gang, const TuningPlan& plan, const KeptFile& file, TunedFunction& tuned,
                  const std::function<void(std::uint32_t epoch, double error)>& on_epoch);

}  // namespace quench::worker
