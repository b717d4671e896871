// AWQ (2306.00978): inputs with large activations are given finer steps by scaling their weights up before rounding, and
// the inverse goes into whatever makes them: the norm before q, k, v and before gate, up; the rows of v for o, of up for
// down. What is made of a choice is measured, not simulated: tr(ΔHΔᵀ) with the Hessian of the unscaled inputs is the exact
// squared error of the linear's outputs.
//
// Collective calls; every result is the same on all ranks and does not depend on how many there are.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cluster/collective/collective.h"
#include "kernels/backend.h"
#include "schemas/job_spec.h"
#include "worker/model/block_forward.h"
#include "worker/quantize/hessian.h"

namespace quench::worker {

// Mean |x| of each column over the tokens of all ranks, in exact sums. `tokens` counts all ranks'; `input` is finite.
std::vector<double> mean_magnitudes(kernels::Backend& backend, cluster::Collective& gang, kernels::ConstMatrixView input,
                                    std::int64_t tokens, const std::string& label);

// s_c = m_c^ratio / sqrt(max·min) over columns that are not always zero; those have 1, as every column for ratio 0.
std::vector<float> scales_of(std::span<const double> magnitudes, double ratio);

// Some rows of one linear of a stage, those of this rank.
struct SampledRows {
  kernels::ConstMatrixView rows;  // in the source's column order
  double weight = 1;              // of a row's loss: how many rows of the linear it stands for
};
struct ScaleChoice {
  std::vector<float> scales;
  double ratio = 0;
  double loss = 0;      // over all linears and ranks
  double unscaled = 0;  // the same without scales: rounding to nearest
};
// Of the ratios 0, 1/20, … 19/20 the one with the least loss, the smaller of equals.
ScaleChoice search_scales(kernels::Backend& backend, cluster::Collective& gang, const QuantizeSpec& recipe,
                          std::span<const SampledRows> linears, const Hessian& hessian, std::span<const double> magnitudes,
                          const std::string& label);

// The scales of a block's stages, empty where there are none, and what they do to its tensors.
struct BlockScales {
  std::array<std::vector<float>, kBlockStages> stages;
  // Rows [first_row, first_row + rows.rows) of linear `which` (BlockLinear), in place.
  void fold_into_rows(std::size_t which, std::int64_t first_row, kernels::MatrixView rows) const;
  // A norm's weight or bias, or a linear's bias, in place.
  void fold_into_vector(const BlockVector& which, std::span<float> vector) const;
  // The scales of linear `which`'s inputs.
  std::span<const float> of_inputs(std::size_t which) const;
};

// Ranges of groups shrunk where that lowers the loss: `rows` [rows, C], scaled already by `scales` (empty: not), are
// clamped group by group to the best of three shares of their range, judged by the group's own block of H; a row whose
// whole loss does not fall stays as it was. Gives each row's loss and energy, Δ H Δᵀ and w H wᵀ for the unscaled inputs.
// Not collective.
struct RowLosses {
  std::vector<double> losses, energies;
};
RowLosses clip_ranges(kernels::Backend& backend, const QuantizeSpec& recipe, const Hessian& hessian,
                      std::span<const float> scales, kernels::MatrixView rows);

}  // namespace quench::worker
