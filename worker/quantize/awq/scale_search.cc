#include "worker/quantize/awq/scale_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/double_math.h"
#include "schemas/error.h"
#include "worker/model/block.h"
#include "worker/quantize/aqlm/exact_totals.h"
#include "worker/quantize/methods.h"

namespace quench::worker {
namespace {

using kernels::AlignedBuffer;
using kernels::ConstMatrixView;
using kernels::MatrixView;

constexpr int kRatios = 20;       // of the scale search, as the authors have it
constexpr int kShares = 3;        // of a range: 1, 0.95, 0.9; the authors go on to 0.55, which memorised text pays for
constexpr double kShareStep = 0.05;
constexpr double kMagnitudeMin = 1e-8, kScaleMin = 1e-4, kScaleMax = 1e4;

// Rounding to nearest, with the room that it takes.
class Rounding {
 public:
  Rounding(kernels::Backend& backend, const QuantizeSpec& recipe, std::int64_t rows, std::int64_t columns)
      : backend_(backend),
        grid_(grid_of(recipe)),
        groups_(kernels::group_count(columns, grid_.group_size)),
        codes_(static_cast<std::size_t>(rows * columns)),
        scales_(static_cast<std::size_t>(rows * groups_)),
        zeros_(scales_.size()),
        values_(codes_.size(), backend.memory()),
        view_(values_.data(), rows, columns) {}
  // Ŵ; the caller may change it until the next call.
  MatrixView operator()(ConstMatrixView weights) {
    backend_.round_to_nearest(weights, grid_, {codes_.data(), scales_.data(), zeros_.data(), view_, nullptr});
    kernels::to_host(backend_.memory(), view_);
    return view_;
  }

 private:
  kernels::Backend& backend_;
  kernels::GridSpec grid_;
  std::int64_t groups_;
  std::vector<std::uint8_t> codes_;
  std::vector<std::uint16_t> scales_;
  std::vector<std::uint8_t> zeros_;
  AlignedBuffer<float> values_;
  MatrixView view_;
};

// H lies in reversed column order (hessian.h), and so do all rows here: groups that divide the columns stay groups.
AlignedBuffer<float> reversed(ConstMatrixView rows, kernels::Memory* memory) {
  AlignedBuffer<float> copy(static_cast<std::size_t>(rows.rows * rows.cols), memory);
  for (std::int64_t row = 0; row < rows.rows; ++row)
    std::reverse_copy(rows.row(row), rows.row(row) + rows.cols, copy.data() + row * rows.cols);
  kernels::to_device(memory, MatrixView(copy.data(), rows.rows, rows.cols));
  return copy;
}

void multiply_columns(MatrixView rows, std::span<const float> factors) {
  if (factors.empty()) return;
  for (std::int64_t row = 0; row < rows.rows; ++row)
    for (std::int64_t column = 0; column < rows.cols; ++column) rows.row(row)[column] *= factors[static_cast<std::size_t>(column)];
}

void divide_columns(MatrixView rows, std::span<const float> divisors) {
  if (divisors.empty()) return;
  for (std::int64_t row = 0; row < rows.rows; ++row)
    for (std::int64_t column = 0; column < rows.cols; ++column) rows.row(row)[column] /= divisors[static_cast<std::size_t>(column)];
}

// The diagonal block of H for `count` columns from `first`.
kernels::TriangleBuffer<float> block_of(const Hessian& hessian, std::int64_t first, std::int64_t count, kernels::Memory* memory) {
  const kernels::TrianglePanels& from = hessian.layout;
  kernels::TriangleBuffer<float> block(kernels::TrianglePanels{count, kPanelWidth}, memory);
  const kernels::TrianglePanels& to = block.layout();
  std::fill_n(block.data(), block.size(), 0.0f);
  for (std::int64_t column = 0; column < count; ++column) {
    const std::int64_t panel = (first + column) / from.width, into = column / to.width;
    for (std::int64_t row = column; row < count; ++row)
      block.panels()[into][to.index(into, row, column)] =
          hessian.values.panels()[panel][from.index(panel, first + row, first + column)];
  }
  kernels::to_device(memory, std::span(block.data(), block.size()));
  return block;
}

void bring_to_host(kernels::Backend& backend, const Hessian& hessian) {
  for (std::int64_t panel = 0; panel < hessian.layout.count(); ++panel)
    kernels::to_host(backend.memory(),
                     std::span(hessian.values.panels()[panel], static_cast<std::size_t>(hessian.layout.elements(panel))));
}

// Of each group of each row: the range that rounding takes, and the share of it that lost least.
struct Range {
  float low = 0, high = 0;
  float share = 1;
  double loss = std::numeric_limits<double>::infinity();
};

void clamp_row(const float* from, std::span<const Range> ranges, std::int64_t group_size, const float* share, float* to) {
  for (std::size_t group = 0; group < ranges.size(); ++group) {
    const float part = share != nullptr ? *share : ranges[group].share;
    const float low = ranges[group].low * part, high = ranges[group].high * part;
    const std::int64_t first = static_cast<std::int64_t>(group) * group_size;
    for (std::int64_t column = first; column < first + group_size; ++column) to[column] = std::clamp(from[column], low, high);
  }
}

}  // namespace

std::vector<double> mean_magnitudes(kernels::Backend& backend, cluster::Collective& gang, ConstMatrixView input,
                                    std::int64_t tokens, const std::string& label) {
  const auto columns = static_cast<std::size_t>(input.cols);
  std::vector<std::int32_t> exponents(columns, -126);
  if (input.rows > 0) backend.column_exponents(input, exponents);
  gang.all_reduce_max(exponents, "magnitude exponents " + label);
  kernels::to_host(backend.memory(), input);
  // |x| < 2^e, so the sum of all tokens stays below 2^62 of these units.
  std::vector<double> units(columns);
  const int shift = kernels::sum_shift(tokens);
  for (std::size_t c = 0; c < columns; ++c) units[c] = std::ldexp(1.0, shift - exponents[c]);
  std::vector<std::int64_t> sums(columns, 0);
  for (std::int64_t row = 0; row < input.rows; ++row)
    for (std::size_t c = 0; c < columns; ++c) sums[c] += std::llrint(std::fabs(double{input.row(row)[c]}) * units[c]);
  if (gang.world() > 1) gang.all_reduce_sum(sums, "magnitudes " + label);
  std::vector<double> means(columns);
  for (std::size_t c = 0; c < columns; ++c)
    means[c] = static_cast<double>(sums[c]) / units[c] / static_cast<double>(tokens);
  return means;
}

std::vector<float> scales_of(std::span<const double> magnitudes, double ratio) {
  std::vector<float> scales(magnitudes.size(), 1.0f);
  if (ratio == 0) return scales;
  std::vector<double> logs(magnitudes.size(), 0.0);
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (std::size_t c = 0; c < magnitudes.size(); ++c) {
    if (magnitudes[c] == 0) continue;
    logs[c] = ratio * kernels::exact_log(std::max(magnitudes[c], kMagnitudeMin));
    least = std::min(least, logs[c]);
    most = std::max(most, logs[c]);
  }
  for (std::size_t c = 0; c < magnitudes.size(); ++c)
    if (magnitudes[c] != 0)
      scales[c] = static_cast<float>(std::clamp(kernels::exact_exp(logs[c] - (least + most) / 2), kScaleMin, kScaleMax));
  return scales;
}

ScaleChoice search_scales(kernels::Backend& backend, cluster::Collective& gang, const QuantizeSpec& recipe,
                          std::span<const SampledRows> linears, const Hessian& hessian, std::span<const double> magnitudes,
                          const std::string& label) {
  kernels::Memory* const memory = backend.memory();
  const std::int64_t columns = hessian.layout.columns;
  std::vector<std::vector<double>> losses(kRatios);  // of every row of this rank
  for (const SampledRows& linear : linears) {
    const std::int64_t rows = linear.rows.rows;
    if (rows == 0) continue;
    const AlignedBuffer<float> weights = reversed(linear.rows, memory);
    const ConstMatrixView view(weights.data(), rows, columns);
    AlignedBuffer<float> scaled(weights.size(), memory);
    const MatrixView scaled_view(scaled.data(), rows, columns);
    Rounding round(backend, recipe, rows, columns);
    std::vector<double> of_rows(static_cast<std::size_t>(rows)), energies(of_rows.size());
    for (int i = 0; i < kRatios; ++i) {
      std::vector<float> scales = scales_of(magnitudes, static_cast<double>(i) / kRatios);
      std::reverse(scales.begin(), scales.end());
      std::copy(weights.data(), weights.data() + weights.size(), scaled.data());
      multiply_columns(scaled_view, scales);
      kernels::to_device(memory, scaled_view);
      const MatrixView rounded = round(scaled_view);
      divide_columns(rounded, scales);
      kernels::to_device(memory, rounded);
      backend.quadratic_losses(view, rounded, hessian.layout, hessian.values.panels(), of_rows, energies);
      for (const double loss : of_rows) losses[static_cast<std::size_t>(i)].push_back(loss * linear.weight);
    }
  }
  ScaleChoice best;
  for (int i = 0; i < kRatios; ++i) {
    const double loss = exact_total(gang, losses[static_cast<std::size_t>(i)], "loss of scales " + label);
    if (i == 0) best.unscaled = best.loss = loss;
    if (loss >= best.loss) continue;
    best.loss = loss;
    best.ratio = static_cast<double>(i) / kRatios;
  }
  best.scales = scales_of(magnitudes, best.ratio);
  return best;
}

std::span<const float> BlockScales::of_inputs(std::size_t which) const {
  const std::size_t stage = which == kO ? 1 : which == kGate || which == kUp ? 2 : which == kDown ? 3 : 0;
  return stages[stage];
}

void BlockScales::fold_into_rows(std::size_t which, std::int64_t first_row, MatrixView rows) const {
  multiply_columns(rows, of_inputs(which));
  if (which != kV && which != kUp) return;
  const std::vector<float>& outputs = stages[which == kV ? 1 : 3];
  if (outputs.empty()) return;
  for (std::int64_t row = 0; row < rows.rows; ++row) {
    const float scale = outputs.at(static_cast<std::size_t>(first_row + row));
    for (std::int64_t column = 0; column < rows.cols; ++column) rows.row(row)[column] /= scale;
  }
}

void BlockScales::fold_into_vector(const BlockVector& which, std::span<float> vector) const {
  std::size_t stage = 0;
  if (which.part == BlockVector::mlp_norm || which.part == BlockVector::mlp_norm_bias) stage = 2;
  if (which.part == BlockVector::linear_bias) {
    if (which.linear != kV && which.linear != kUp) return;
    stage = which.linear == kV ? 1 : 3;
  }
  divide_columns(MatrixView(vector.data(), 1, static_cast<std::int64_t>(vector.size())), stages[stage]);
}

RowLosses clip_ranges(kernels::Backend& backend, const QuantizeSpec& recipe, const Hessian& hessian,
                      std::span<const float> scales, MatrixView rows) {
  kernels::Memory* const memory = backend.memory();
  const std::int64_t columns = rows.cols, group_size = recipe.group_size < 0 ? columns : recipe.group_size;
  QUENCH_CHECK(columns % group_size == 0, columns, group_size);
  const auto groups = static_cast<std::size_t>(columns / group_size);
  const auto count = static_cast<std::size_t>(rows.rows);
  std::vector<float> divisors(scales.rbegin(), scales.rend());
  const AlignedBuffer<float> scaled = reversed(rows, memory);
  AlignedBuffer<float> unscaled(scaled.size(), memory), clipped(scaled.size(), memory);
  std::copy(scaled.data(), scaled.data() + scaled.size(), unscaled.data());
  const MatrixView original(unscaled.data(), rows.rows, columns), candidate(clipped.data(), rows.rows, columns);
  divide_columns(original, divisors);
  kernels::to_device(memory, original);

  std::vector<Range> ranges(count * groups);
  const auto ranges_of = [&](std::size_t row) { return std::span(ranges).subspan(row * groups, groups); };
  for (std::size_t row = 0; row < count; ++row)
    for (std::size_t group = 0; group < groups; ++group) {
      Range& range = ranges[row * groups + group];
      const float* from = scaled.data() + row * static_cast<std::size_t>(columns) + group * static_cast<std::size_t>(group_size);
      for (std::int64_t i = 0; i < group_size; ++i) {
        range.low = std::min(range.low, from[i]);
        range.high = std::max(range.high, from[i]);
      }
    }
  bring_to_host(backend, hessian);
  std::vector<kernels::TriangleBuffer<float>> blocks;
  for (std::size_t group = 0; group < groups; ++group)
    blocks.push_back(block_of(hessian, static_cast<std::int64_t>(group) * group_size, group_size, memory));

  Rounding round(backend, recipe, rows.rows, columns);
  std::vector<double> losses(count), energies(count);
  const auto rounded = [&](const auto& clamp) {
    for (std::size_t row = 0; row < count; ++row) {
      const std::size_t at = row * static_cast<std::size_t>(columns);
      clamp(row, scaled.data() + at, clipped.data() + at);
    }
    kernels::to_device(memory, candidate);
    const MatrixView values = round(candidate);
    divide_columns(values, divisors);
    kernels::to_device(memory, values);
    return values;
  };
  for (int k = 0; k < kShares; ++k) {
    const auto share = static_cast<float>(1 - k * kShareStep);
    const MatrixView values = rounded(
        [&](std::size_t row, const float* from, float* to) { clamp_row(from, ranges_of(row), group_size, &share, to); });
    for (std::size_t group = 0; group < groups; ++group) {
      const std::int64_t first = static_cast<std::int64_t>(group) * group_size;
      backend.quadratic_losses(original.col_range(first, group_size), values.col_range(first, group_size),
                               blocks[group].layout(), blocks[group].panels(), losses, energies);
      for (std::size_t row = 0; row < count; ++row) {
        Range& range = ranges[row * groups + group];
        if (losses[row] >= range.loss) continue;
        range.loss = losses[row];
        range.share = share;
      }
    }
  }

  // The blocks beside the diagonal decide whether a row is better off.
  const auto whole = [&](MatrixView values, std::vector<double>& of_rows) {
    of_rows.resize(count);
    backend.quadratic_losses(original, values, hessian.layout, hessian.values.panels(), of_rows, energies);
  };
  RowLosses result;
  whole(rounded([&](std::size_t, const float* from, float* to) { std::copy_n(from, columns, to); }), result.losses);
  whole(rounded([&](std::size_t row, const float* from, float* to) {
          clamp_row(from, ranges_of(row), group_size, nullptr, to);
        }),
        losses);
  for (std::size_t row = 0; row < count; ++row) {
    if (losses[row] >= result.losses[row]) continue;
    result.losses[row] = losses[row];
    const float* from = clipped.data() + row * static_cast<std::size_t>(columns);
    std::reverse_copy(from, from + columns, rows.row(static_cast<std::int64_t>(row)));
  }
  result.energies = energies;
  return result;
}

}  // namespace quench::worker
