#include "worker/quantize/aqlm/block_gradient.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "schemas/error.h"

namespace quench::worker {
namespace {

using kernels::ConstMatrixView;
using kernels::MatrixView;

std::int64_t lanes_of(std::int64_t rows) { return kernels::panel_count(rows) * kernels::kPanelRows; }

// The power of two nearest to sqrt(inputs) from below.
float form_factor(std::int64_t inputs) {
  float factor = 1;
  while (4 * factor * factor <= static_cast<float>(inputs)) factor *= 2;
  return factor;
}

float rounded_to_half(float value) { return kernels::f16_to_f32(kernels::f32_to_f16(value)); }

void note_largest(double value, double& largest) { largest = std::max(largest, std::fabs(value)); }

}  // namespace

TrainedBlock::TrainedBlock(kernels::Backend& backend, const ModelConfig& config, const kernels::RopeTable& rope,
                           const Block& block)
    : backend_(backend.host()), config_(config), rope_(rope) {
  back_rope_.positions = rope.positions;
  back_rope_.head_dim = rope.head_dim;
  back_rope_.cosines = kernels::AlignedBuffer<float>(rope.cosines.size());
  back_rope_.sines = kernels::AlignedBuffer<float>(rope.sines.size());
  for (std::size_t i = 0; i < rope.cosines.size(); ++i) {
    back_rope_.cosines[i] = rope.cosines[i];
    back_rope_.sines[i] = -rope.sines[i];
  }
  positions_.resize(static_cast<std::size_t>(rope.positions));
  std::iota(positions_.begin(), positions_.end(), 0);

  for (std::size_t i = 0; i < kBlockLinears; ++i) {
    TrainedLinear& linear = linears_[i];
    const kernels::AdditiveView view = block.linears[i].additive_view();
    linear.shape = {static_cast<std::uint32_t>(view.rows), static_cast<std::uint32_t>(view.cols),
                    static_cast<std::uint32_t>(view.codebooks), static_cast<std::uint32_t>(view.bits),
                    static_cast<std::uint32_t>(view.group)};
    const std::size_t sixteens = std::size_t{linear.shape.panels()} * linear.shape.groups() * linear.shape.codebooks;
    for (std::size_t s = 0; s < sixteens; ++s)
      for (int row = 0; row < kernels::kPanelRows; ++row)
        linear.codes.push_back(static_cast<std::uint16_t>(
            kernels::code_of(view.codes + s * 2 * static_cast<std::size_t>(view.code_bits), view.code_bits, row)));
    const float factor = form_factor(view.cols);
    Tensor& entries = tensors_[2 * i];
    entries = {parameters_.size(), static_cast<std::size_t>(view.values()),
               static_cast<double>(view.rows) * static_cast<double>(view.groups())};
    for (std::size_t e = 0; e < entries.count; ++e) parameters_.push_back(view.entries[e] / factor);
    tensors_[2 * i + 1] = {parameters_.size(), static_cast<std::size_t>(view.rows), 1};
    for (std::int64_t row = 0; row < view.rows; ++row) parameters_.push_back(view.scales[row] * factor);
    linear.padded_scales.assign(static_cast<std::size_t>(lanes_of(view.rows)), 0.0f);
    linear.panels = kernels::AlignedBuffer<float>(static_cast<std::size_t>(lanes_of(view.rows) * view.cols));
    linear.transposed = kernels::AlignedBuffer<float>(static_cast<std::size_t>(lanes_of(view.cols) * view.rows));
  }
  for (std::size_t n = 0; n < 2; ++n) {
    const std::vector<float>& norm = n == 0 ? block.attention_norm : block.mlp_norm;
    tensors_[2 * kBlockLinears + n] = {parameters_.size(), norm.size(), 1};
    parameters_.insert(parameters_.end(), norm.begin(), norm.end());
  }
  refresh();
}

void TrainedBlock::set_parameters(std::span<const float> parameters) {
  QUENCH_CHECK(parameters.size() == parameters_.size(), parameters.size(), parameters_.size());
  std::copy(parameters.begin(), parameters.end(), parameters_.begin());
  refresh();
}

kernels::AdditiveView TrainedBlock::view(std::size_t which) const {
  const TrainedLinear& linear = linears_[which];
  kernels::AdditiveView view;
  view.rows = linear.shape.rows;
  view.cols = linear.shape.inputs;
  view.codebooks = static_cast<int>(linear.shape.codebooks);
  view.bits = static_cast<int>(linear.shape.bits);
  view.code_bits = 16;
  view.group = static_cast<int>(linear.shape.group_size);
  view.codes = reinterpret_cast<const std::uint8_t*>(linear.codes.data());
  view.entries = parameters_.data() + tensors_[2 * which].begin;
  view.scales = linear.padded_scales.data();
  return view;
}

void TrainedBlock::refresh() {
  for (std::size_t i = 0; i < kBlockLinears; ++i) {
    TrainedLinear& linear = linears_[i];
    const Tensor& scales = tensors_[2 * i + 1];
    std::copy_n(parameters_.data() + scales.begin, scales.count, linear.padded_scales.data());
    backend_.codebooks().residual(view(i), nullptr, linear.panels.data());
    const MatrixView rows = scratch_[0].matrix(linear.shape.rows, linear.shape.inputs, nullptr);
    backend_.codebooks().dequantize(view(i), rows);
    backend_.training().panels_of_transpose(rows, linear.transposed.data());
  }
}

MatrixView TrainedBlock::multiply(ActivationBuffer& out, ConstMatrixView x, const float* panels, std::int64_t outputs) {
  const MatrixView y = out.matrix(x.rows, outputs, nullptr);
  kernels::WeightView weight;
  weight.rows = outputs;
  weight.cols = x.cols;
  weight.panels = panels;
  backend_.gemm(x, weight, y);
  return y;
}

void TrainedBlock::attend(std::int64_t rows) {
  const std::int64_t d = config_.head_dim, per_kv = config_.heads / config_.kv_heads;
  const MatrixView q(kept_.q.matrix(rows, config_.heads * d, nullptr)), k(kept_.k.matrix(rows, config_.kv_heads * d, nullptr)),
      v(kept_.v.matrix(rows, config_.kv_heads * d, nullptr)), out(kept_.attention.matrix(rows, config_.heads * d, nullptr));
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)));
  for (std::int64_t kv = 0; kv < config_.kv_heads; ++kv) {
    const MatrixView keys = scratch_[0].matrix(lanes_of(rows), d, nullptr), values = scratch_[1].matrix(lanes_of(d), rows, nullptr);
    backend_.training().panels_of(k.col_range(kv * d, d), keys.data);
    backend_.training().panels_of_transpose(v.col_range(kv * d, d), values.data);
    for (std::int64_t head = kv * per_kv; head < (kv + 1) * per_kv; ++head) {
      const MatrixView scores = multiply(scratch_[2], q.col_range(head * d, d), keys.data, rows);
      backend_.training().causal_softmax(scores, scale);
      kernels::WeightView weight;
      weight.rows = d;
      weight.cols = rows;
      weight.panels = values.data;
      backend_.gemm(scores, weight, out.col_range(head * d, d));
    }
  }
}

MatrixView TrainedBlock::forward(ConstMatrixView x) {
  const float epsilon = static_cast<float>(config_.norm_eps);
  const auto linear = [&](BlockLinear which, ActivationBuffer& out, ConstMatrixView in) {
    return multiply(out, in, linears_[which].panels.data(), linears_[which].shape.rows);
  };
  const MatrixView first = kept_.first_normed.matrix(x.rows, x.cols, nullptr);
  backend_.rms_norm(x, norm(0).data(), epsilon, first);
  const MatrixView q = linear(kQ, kept_.q, first), k = linear(kK, kept_.k, first);
  linear(kV, kept_.v, first);
  const std::span<const std::int32_t> positions = std::span(positions_).first(static_cast<std::size_t>(x.rows));
  backend_.rope(q, rope_, positions);
  backend_.rope(k, rope_, positions);
  attend(x.rows);
  const MatrixView middle = linear(kO, kept_.middle, kept_.attention.matrix(x.rows, q.cols, nullptr));
  backend_.add(x, middle);
  const MatrixView second = kept_.second_normed.matrix(x.rows, x.cols, nullptr);
  backend_.rms_norm(middle, norm(1).data(), epsilon, second);
  const MatrixView gate = linear(kGate, kept_.gate, second), up = linear(kUp, kept_.up, second);
  const MatrixView product = kept_.product.matrix(gate.rows, gate.cols, nullptr);
  backend_.silu_multiply(gate, up, product);
  const MatrixView out = linear(kDown, kept_.out, product);
  backend_.add(middle, out);
  return out;
}

double TrainedBlock::squared_error(ConstMatrixView x, ConstMatrixView target) {
  const MatrixView out = forward(x);
  double sum = 0;
  for (std::int64_t t = 0; t < out.rows; ++t)
    for (std::int64_t c = 0; c < out.cols; ++c) {
      const double difference = static_cast<double>(out.row(t)[c]) - static_cast<double>(target.row(t)[c]);
      sum += difference * difference;
    }
  return sum;
}

void TrainedBlock::attend_backward(ConstMatrixView dout, MatrixView dq, MatrixView dk, MatrixView dv) {
  const std::int64_t rows = dout.rows, d = config_.head_dim, per_kv = config_.heads / config_.kv_heads;
  const MatrixView q(kept_.q.matrix(rows, dq.cols, nullptr)), k(kept_.k.matrix(rows, dk.cols, nullptr)),
      v(kept_.v.matrix(rows, dv.cols, nullptr));
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)));
  kernels::Training& training = backend_.training();
  kernels::AlignedBuffer<float> keys(static_cast<std::size_t>(lanes_of(rows) * d)), values(keys.size()),
      turned_keys(static_cast<std::size_t>(lanes_of(d) * rows)), turned(turned_keys.size());
  const auto product = [&](ConstMatrixView left, const float* panels, std::int64_t outputs, ActivationBuffer& into) {
    return multiply(into, left, panels, outputs);
  };
  const auto clear = [](MatrixView m) {
    for (std::int64_t t = 0; t < m.rows; ++t) std::fill_n(m.row(t), m.cols, 0.0f);
  };
  clear(dk);
  clear(dv);
  for (std::int64_t kv = 0; kv < config_.kv_heads; ++kv) {
    training.panels_of(k.col_range(kv * d, d), keys.data());
    training.panels_of(v.col_range(kv * d, d), values.data());
    training.panels_of_transpose(k.col_range(kv * d, d), turned_keys.data());
    for (std::int64_t head = kv * per_kv; head < (kv + 1) * per_kv; ++head) {
      const ConstMatrixView dhead = dout.col_range(head * d, d), qhead = q.col_range(head * d, d);
      const MatrixView p = product(qhead, keys.data(), rows, scratch_[0]);
      training.causal_softmax(p, scale);
      const MatrixView dp = product(dhead, values.data(), rows, scratch_[1]);
      const MatrixView other_way = scratch_[2].matrix(rows, rows, nullptr);
      training.transpose(p, other_way);
      training.panels_of_transpose(dhead, turned.data());
      backend_.add(product(other_way, turned.data(), d, scratch_[3]), dv.col_range(kv * d, d));
      training.causal_softmax_backward(p, scale, dp);
      kernels::WeightView weight;
      weight.rows = d;
      weight.cols = rows;
      weight.panels = turned_keys.data();
      backend_.gemm(dp, weight, dq.col_range(head * d, d));
      training.transpose(dp, other_way);
      training.panels_of_transpose(qhead, turned.data());
      backend_.add(product(other_way, turned.data(), d, scratch_[3]), dk.col_range(kv * d, d));
    }
  }
}

void TrainedBlock::add_linear_gradient(std::size_t which, ConstMatrixView x, ConstMatrixView dy, std::span<const double> units,
                                       std::span<std::int64_t> sums, std::span<double> largest) {
  const TrainedLinear& linear = linears_[which];
  const std::int64_t inputs = linear.shape.inputs, lanes = lanes_of(linear.shape.rows);
  // dWᵀ [inputs][lanes]: one chain over the sequence's tokens for each weight.
  const MatrixView turned = scratch_[0].matrix(x.cols, x.rows, nullptr);
  backend_.training().transpose(x, turned);
  const MatrixView panels = scratch_[1].matrix(lanes, x.rows, nullptr);
  backend_.training().panels_of_transpose(dy, panels.data);
  const MatrixView gradient = multiply(scratch_[2], turned, panels.data, lanes);

  const Tensor &entries = tensors_[2 * which], &scales = tensors_[2 * which + 1];
  kernels::Codebooks& codebooks = backend_.codebooks();
  note_largest(static_cast<double>(codebooks.largest(gradient, linear.padded_scales.data())), largest[2 * which]);
  codebooks.add_to_entries(view(which), gradient, linear.padded_scales.data(), {sums.data() + entries.begin, units[2 * which]});
  const MatrixView sum_of_entries = scratch_[3].matrix(lanes, inputs, nullptr);
  kernels::AdditiveView unscaled = view(which);
  unscaled.scales = nullptr;
  codebooks.residual(unscaled, nullptr, sum_of_entries.data);
  std::vector<double> dots(static_cast<std::size_t>(lanes));
  codebooks.row_dots(sum_of_entries.data, gradient, dots);
  for (std::size_t row = 0; row < scales.count; ++row) {
    note_largest(dots[row], largest[2 * which + 1]);
    sums[scales.begin + row] += std::llrint(dots[row] * units[2 * which + 1]);
  }
}

void TrainedBlock::add_norm_gradient(std::size_t tensor, std::span<const float> gradient, std::span<const double> units,
                                     std::span<std::int64_t> sums, std::span<double> largest) {
  for (std::size_t c = 0; c < gradient.size(); ++c) {
    note_largest(gradient[c], largest[tensor]);
    sums[tensors_[tensor].begin + c] += std::llrint(static_cast<double>(gradient[c]) * units[tensor]);
  }
}

double TrainedBlock::add_gradient(ConstMatrixView x, ConstMatrixView target, double weight, std::span<const double> units,
                                  std::span<std::int64_t> sums, std::span<double> largest) {
  const MatrixView out = forward(x);
  kernels::AlignedBuffer<float> memory(static_cast<std::size_t>(x.rows * x.cols));
  const MatrixView d(memory.data(), x.rows, x.cols);
  double error = 0;
  for (std::int64_t t = 0; t < x.rows; ++t)
    for (std::int64_t c = 0; c < x.cols; ++c) {
      const double difference = static_cast<double>(out.row(t)[c]) - static_cast<double>(target.row(t)[c]);
      error += difference * difference;
      d.row(t)[c] = static_cast<float>(2 * weight * difference);
    }
  add_backward(x, d, units, sums, largest);
  return error;
}

void TrainedBlock::add_backward(ConstMatrixView x, MatrixView dmiddle, std::span<const double> units, std::span<std::int64_t> sums,
                                std::span<double> largest) {
  const std::int64_t rows = x.rows;
  const float epsilon = static_cast<float>(config_.norm_eps);
  kernels::Training& training = backend_.training();
  // What passes by a half of the block is already in dmiddle, and what comes through it is added.
  kernels::AlignedBuffer<float> memory(static_cast<std::size_t>(rows * x.cols));
  const MatrixView dout(memory.data(), rows, x.cols);
  for (std::int64_t t = 0; t < rows; ++t) std::copy_n(dmiddle.row(t), x.cols, dout.row(t));
  const auto back = [&](BlockLinear which, ActivationBuffer& into, ConstMatrixView dy) {
    return multiply(into, dy, linears_[which].transposed.data(), linears_[which].shape.inputs);
  };
  const auto gradient_of = [&](BlockLinear which, ConstMatrixView input, ConstMatrixView dy) {
    add_linear_gradient(which, input, dy, units, sums, largest);
  };
  std::vector<float> dnorm(static_cast<std::size_t>(x.cols));

  // MLP: out = middle + down(silu(gate) * up).
  const std::int64_t wide = linears_[kGate].shape.rows;
  const MatrixView gate = kept_.gate.matrix(rows, wide, nullptr), up = kept_.up.matrix(rows, wide, nullptr),
                   product = kept_.product.matrix(rows, wide, nullptr), second = kept_.second_normed.matrix(rows, x.cols, nullptr),
                   middle = kept_.middle.matrix(rows, x.cols, nullptr);
  gradient_of(kDown, product, dout);
  const MatrixView dproduct = back(kDown, scratch_[4], dout);
  const MatrixView dgate = scratch_[5].matrix(rows, wide, nullptr), dup = scratch_[6].matrix(rows, wide, nullptr);
  training.silu_backward(gate, up, dproduct, dgate, dup);
  gradient_of(kGate, second, dgate);
  gradient_of(kUp, second, dup);
  const MatrixView dsecond = back(kGate, scratch_[4], dgate);
  backend_.add(back(kUp, scratch_[7], dup), dsecond);
  training.rms_norm_backward(middle, norm(1).data(), epsilon, dsecond, dmiddle, dnorm.data());
  add_norm_gradient(2 * kBlockLinears + 1, dnorm, units, sums, largest);

  // Attention: middle = x + o(attention(q, k, v)).
  const std::int64_t q_cols = linears_[kQ].shape.rows, kv_cols = linears_[kK].shape.rows;
  const MatrixView attention = kept_.attention.matrix(rows, q_cols, nullptr), first = kept_.first_normed.matrix(rows, x.cols, nullptr);
  gradient_of(kO, attention, dmiddle);
  const MatrixView dattention = back(kO, scratch_[4], dmiddle);
  const MatrixView dq = scratch_[5].matrix(rows, q_cols, nullptr), dk = scratch_[6].matrix(rows, kv_cols, nullptr),
                   dv = scratch_[7].matrix(rows, kv_cols, nullptr);
  attend_backward(dattention, dq, dk, dv);
  const std::span<const std::int32_t> positions = std::span(positions_).first(static_cast<std::size_t>(rows));
  backend_.rope(dq, back_rope_, positions);
  backend_.rope(dk, back_rope_, positions);
  gradient_of(kQ, first, dq);
  gradient_of(kK, first, dk);
  gradient_of(kV, first, dv);
  const MatrixView dfirst = back(kQ, scratch_[4], dq);
  backend_.add(back(kK, scratch_[0], dk), dfirst);
  backend_.add(back(kV, scratch_[0], dv), dfirst);
  training.rms_norm_backward(x, norm(0).data(), epsilon, dfirst, dmiddle, dnorm.data());
  add_norm_gradient(2 * kBlockLinears, dnorm, units, sums, largest);
}

std::span<const float> TrainedBlock::norm(std::size_t which) const {
  const Tensor& tensor = tensors_[2 * kBlockLinears + which];
  return {parameters_.data() + tensor.begin, tensor.count};
}

std::vector<float> TrainedBlock::as_stored() const {
  std::vector<float> stored = parameters_;
  const std::size_t norms = tensors_[2 * kBlockLinears].begin;
  for (std::size_t i = 0; i < norms; ++i) stored[i] = rounded_to_half(stored[i]);
  return stored;
}

std::vector<std::uint8_t> TrainedBlock::codebooks(std::size_t which) const {
  const Tensor& entries = tensors_[2 * which];
  std::vector<std::uint8_t> chunk(entries.count * 2);
  for (std::size_t e = 0; e < entries.count; ++e) {
    const std::uint16_t half = kernels::f32_to_f16(parameters_[entries.begin + e]);
    std::memcpy(chunk.data() + 2 * e, &half, sizeof half);
  }
  return chunk;
}

std::vector<std::uint8_t> TrainedBlock::tile(std::size_t which, std::int64_t first_row, std::int64_t rows) const {
  const TrainedLinear& linear = linears_[which];
  AdditiveTileShape shape = linear.shape;
  shape.rows = static_cast<std::uint32_t>(rows);
  std::vector<std::uint8_t> chunk(shape.bytes());
  const std::size_t sixteens = std::size_t{shape.groups()} * shape.codebooks;
  const auto panel = static_cast<std::size_t>(first_row / kernels::kPanelRows);
  kernels::narrow_codes(linear.codes.data() + panel * sixteens * 16, static_cast<std::int64_t>(shape.panels() * sixteens),
                        static_cast<int>(shape.bits), chunk.data());
  for (std::size_t row = 0; row < std::size_t{shape.panels()} * 16; ++row) {
    const std::uint16_t half = kernels::f32_to_f16(linear.padded_scales[panel * 16 + row]);
    std::memcpy(chunk.data() + shape.code_bytes() + 2 * row, &half, sizeof half);
  }
  return chunk;
}

}  // namespace quench::worker
