#include "worker/quantize/aqlm/end_to_end.h"

#include <algorithm>
#include <cstdio>

#include "kernels/double_math.h"
#include "schemas/error.h"
#include "worker/model/block_forward.h"
#include "worker/model/transformer.h"
#include "worker/quantize/aqlm/exact_totals.h"

namespace quench::worker {
namespace {

using kernels::ConstMatrixView;
using kernels::MatrixView;

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kFinalNorm = "model.norm.weight";
constexpr const char* kHead = "lm_head.weight";
// exact_exp's range; what is smaller is nothing beside the largest, which is 1.
constexpr double kLeastExponent = -700;

// softmax(z) into p; returns log Σ exp(z - max z).
double softmax(std::span<const float> z, float largest, std::span<double> p) {
  double sum = 0;
  for (std::size_t i = 0; i < z.size(); ++i) {
    const double exponent = static_cast<double>(z[i]) - largest;
    sum += p[i] = exponent < kLeastExponent ? 0.0 : kernels::exact_exp(exponent);
  }
  for (double& value : p) value /= sum;
  return kernels::exact_log(sum);
}

}  // namespace

OutputHead::OutputHead(kernels::Backend& backend, const WeightSource& source)
    : backend_(backend.host()),
      vocabulary_(source.config().vocab_size),
      width_(source.config().hidden_size),
      epsilon_(static_cast<float>(source.config().norm_eps)),
      norm_(read_tensor(source, kFinalNorm)),
      panels_(static_cast<std::size_t>(kernels::panel_count(vocabulary_) * kernels::kPanelRows * width_)),
      transposed_(static_cast<std::size_t>(kernels::panel_count(width_) * kernels::kPanelRows * vocabulary_)) {
  const std::vector<float> weights = read_tensor(source, source.config().tied_head ? kEmbedding : kHead);
  const ConstMatrixView rows(weights.data(), vocabulary_, width_);
  backend_.training().panels_of(rows, panels_.data());
  backend_.training().panels_of_transpose(rows, transposed_.data());
}

void OutputHead::normalize(ConstMatrixView hidden, MatrixView out) { backend_.rms_norm(hidden, norm_.data(), epsilon_, out); }

MatrixView OutputHead::logits_of(ActivationBuffer& into, ConstMatrixView normed) {
  const MatrixView logits = into.matrix(normed.rows, vocabulary_, nullptr);
  kernels::WeightView weight;
  weight.rows = vocabulary_;
  weight.cols = width_;
  weight.panels = panels_.data();
  backend_.gemm(normed, weight, logits);
  return logits;
}

double OutputHead::divergence(ConstMatrixView hidden, ConstMatrixView teacher, double weight, MatrixView d) {
  const MatrixView normed = normed_.matrix(hidden.rows, width_, nullptr);
  normalize(hidden, normed);
  const MatrixView student = logits_of(student_, normed), original = logits_of(teacher_, teacher);
  const auto count = static_cast<std::size_t>(vocabulary_);
  std::vector<double> of_token(static_cast<std::size_t>(hidden.rows));
  backend_.on_host_threads(hidden.rows, [&](std::int64_t t) {
    const std::span<float> zs(student.row(t), count), zt(original.row(t), count);
    const float most = *std::max_element(zs.begin(), zs.end()), most_original = *std::max_element(zt.begin(), zt.end());
    std::vector<double> ps(count), pt(count);
    const double log_sum = softmax(zs, most, ps), log_sum_original = softmax(zt, most_original, pt);
    double sum = log_sum - log_sum_original;
    for (std::size_t i = 0; i < count; ++i)
      sum += pt[i] * ((static_cast<double>(zt[i]) - most_original) - (static_cast<double>(zs[i]) - most));
    of_token[static_cast<std::size_t>(t)] = sum;
    for (std::size_t i = 0; i < count; ++i) zs[i] = static_cast<float>(weight * (ps[i] - pt[i]));
  });
  double sum = 0;
  for (const double one : of_token) sum += one;
  if (d.data == nullptr) return sum;
  const MatrixView dnormed = dnormed_.matrix(hidden.rows, width_, nullptr);
  kernels::WeightView turned;
  turned.rows = width_;
  turned.cols = vocabulary_;
  turned.panels = transposed_.data();
  backend_.gemm(student, turned, dnormed);
  for (std::int64_t t = 0; t < d.rows; ++t) std::fill_n(d.row(t), d.cols, 0.0f);
  std::vector<float> of_norm(norm_.size());  // which stays as it is
  backend_.training().rms_norm_backward(hidden, norm_.data(), epsilon_, dnormed, d, of_norm.data());
  return sum;
}

TunedModel::TunedModel(const GangContext& context, const kernels::RopeTable& rope, const CalibrationSet& calibration,
                       std::vector<Block> blocks)
    : context_(context),
      backend_(context.backend.host()),
      rope_(rope),
      calibration_(calibration),
      share_(sequence_share(static_cast<std::uint32_t>(calibration.sequences.size()), context.gang.rank(), context.gang.world())),
      width_(context.source.config().hidden_size),
      blocks_(std::move(blocks)),
      head_(context.backend, context.source),
      begins_{0},
      teacher_(static_cast<std::size_t>(share_.count()) * values()) {
  for (const Block& block : blocks_) {
    const TrainedBlock trained(backend_, context.source.config(), rope_, block);
    for (TrainedBlock::Tensor tensor : trained.tensors()) {
      tensor.begin += begins_.back();
      tensors_.push_back(tensor);
    }
    parameters_.insert(parameters_.end(), trained.parameters().begin(), trained.parameters().end());
    begins_.push_back(parameters_.size());
  }
  const MatrixView states(teacher_.data(), share_.count() * std::int64_t{calibration.length}, static_cast<std::int64_t>(width_));
  for (std::uint32_t i = 0; i < share_.count(); ++i)
    embed_tokens(context.source, calibration.sequences[share_.begin + i], states.row_range(i * std::int64_t{calibration.length}, calibration.length));
  const std::vector<std::int64_t> lengths(share_.count(), calibration.length);
  for (std::uint32_t layer = 0; layer < blocks_.size(); ++layer) {
    const Block original = load_block(context.source, layer);
    if (share_.count() > 0) BlockForward({backend_, context.source.config(), rope_}, original, lengths, states).finish();
  }
  head_.normalize(states, states);
}

std::vector<float> TunedModel::as_stored() const {
  std::vector<float> stored = parameters_;
  for (std::size_t k = 0; k < tensors_.size(); ++k)
    if (k % TrainedBlock::kTensors < 2 * kBlockLinears)
      for (std::size_t i = tensors_[k].begin; i < tensors_[k].begin + tensors_[k].count; ++i)
        stored[i] = kernels::f16_to_f32(kernels::f32_to_f16(stored[i]));
  return stored;
}

TrainedBlock TunedModel::block(std::uint32_t layer) const {
  TrainedBlock trained(backend_, context_.source.config(), rope_, blocks_[layer]);
  trained.set_parameters(std::span(parameters_).subspan(begins_[layer], begins_[layer + 1] - begins_[layer]));
  return trained;
}

ConstMatrixView TunedModel::teacher(std::uint32_t sequence) const {
  return {teacher_.data() + (sequence - share_.begin) * values(), calibration_.length, static_cast<std::int64_t>(width_)};
}

double TunedModel::validation_error(std::uint32_t first) {
  std::vector<std::uint32_t> own;
  for (std::uint32_t sequence = first; sequence < calibration_.sequences.size(); ++sequence)
    if (is_own(sequence)) own.push_back(sequence);
  kernels::AlignedBuffer<float> memory(own.size() * values());
  const auto states = [&](std::size_t i) {
    return MatrixView(memory.data() + i * values(), calibration_.length, static_cast<std::int64_t>(width_));
  };
  for (std::size_t i = 0; i < own.size(); ++i) embed_tokens(context_.source, calibration_.sequences[own[i]], states(i));
  for (std::uint32_t layer = 0; layer < blocks_.size() && !own.empty(); ++layer) {
    TrainedBlock trained = block(layer);
    for (std::size_t i = 0; i < own.size(); ++i) {
      const ConstMatrixView out = trained.output(states(i));
      for (std::int64_t t = 0; t < out.rows; ++t) std::copy_n(out.row(t), out.cols, states(i).row(t));
    }
  }
  std::vector<double> errors;
  for (std::size_t i = 0; i < own.size(); ++i) errors.push_back(head_.divergence(states(i), teacher(own[i]), 0, {}));
  return exact_total(context_.gang, errors, "validation") /
         (static_cast<double>(calibration_.sequences.size() - first) * static_cast<double>(calibration_.length));
}

void TunedModel::gradient(std::span<const std::uint32_t> batch, std::span<std::int32_t> exponents, std::span<double> units,
                          std::span<std::int64_t> sums) {
  std::vector<std::uint32_t> own;
  for (const std::uint32_t sequence : batch)
    if (is_own(sequence)) own.push_back(sequence);
  const std::size_t layers = blocks_.size();
  kernels::AlignedBuffer<float> inputs((layers + 1) * own.size() * values()), gradients(own.size() * values()), work(values());
  const auto matrix = [&](float* data) { return MatrixView(data, calibration_.length, static_cast<std::int64_t>(width_)); };
  const auto input = [&](std::size_t layer, std::size_t i) { return matrix(inputs.data() + (layer * own.size() + i) * values()); };
  const auto copy = [](ConstMatrixView from, MatrixView to) {
    for (std::int64_t t = 0; t < from.rows; ++t) std::copy_n(from.row(t), from.cols, to.row(t));
  };
  for (std::size_t i = 0; i < own.size(); ++i) embed_tokens(context_.source, calibration_.sequences[own[i]], input(0, i));
  for (std::uint32_t layer = 0; layer < layers && !own.empty(); ++layer) {
    TrainedBlock trained = block(layer);
    for (std::size_t i = 0; i < own.size(); ++i) copy(trained.output(input(layer, i)), input(layer + 1, i));
  }
  const double weight = 1 / (static_cast<double>(batch.size()) * static_cast<double>(calibration_.length));
  for (std::size_t i = 0; i < own.size(); ++i)
    head_.divergence(input(layers, i), teacher(own[i]), weight, matrix(gradients.data() + i * values()));

  constexpr std::size_t kTensors = TrainedBlock::kTensors;
  for (std::size_t layer = layers; layer-- > 0;) {
    TrainedBlock trained = block(static_cast<std::uint32_t>(layer));
    const std::span<std::int32_t> own_exponents = exponents.subspan(layer * kTensors, kTensors);
    const std::span<double> own_units = units.subspan(layer * kTensors, kTensors);
    const std::span<std::int64_t> own_sums = sums.subspan(begins_[layer], begins_[layer + 1] - begins_[layer]);
    // Once more where a number outgrew its unit; the gradient by the block's input is the same each time, and takes the place
    // of that by its output in the end.
    kernels::AlignedBuffer<float> before(own.size() * values());
    std::array<double, kTensors> largest;
    do {
      set_units(trained.tensors(), own_exponents, batch.size(), own_units);
      std::fill(own_sums.begin(), own_sums.end(), 0);
      largest.fill(0);
      for (std::size_t i = 0; i < own.size(); ++i) {
        trained.output(input(layer, i));
        const MatrixView d = matrix(before.data() + i * values());
        copy(matrix(gradients.data() + i * values()), d);
        trained.add_backward(input(layer, i), d, own_units, own_sums, largest);
      }
    } while (!take_exponents(context_.gang, largest, own_units, own_exponents));
    gradients = std::move(before);
  }
  if (context_.gang.world() > 1) context_.gang.all_reduce_sum(sums, "gradients");
}

TuningResult tune_model(const GangContext& context, const QuantizeSpec& recipe, const KeptFile& file, std::uint32_t sequences,
                        TunedModel& model, const std::function<void(const std::string&)>& on_step) {
  const TuningPlan plan{recipe.fine_tune_epochs,         recipe.fine_tune_batch, recipe.patience,
                        recipe.end_to_end_learning_rate, recipe.seed,            sequences - validation_count(recipe, sequences)};
  return tune(context.gang, plan, file, model, [&](std::uint32_t epoch, double error) {
    char text[96];
    std::snprintf(text, sizeof text, "end to end, epoch %u: validation divergence %.4g", epoch, error);
    on_step(text);
  });
}

}  // namespace quench::worker
