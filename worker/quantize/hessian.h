// The Hessian XᵀX/T of one stage's inputs, summed exactly over the gang, and its shared factor
// (DESIGN.md section 3). Every rank calls these together. The results do not depend on the number of
// ranks, nor on which of them ran which sequence.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cluster/collective/collective.h"
#include "kernels/backend.h"

namespace quench::worker {

// Tokens of a leaf: one fp32 chain each, rounded once. Part of the format of an artifact: a change
// changes digests.
inline constexpr std::int64_t kLeafTokens = 512;
inline constexpr std::int64_t kPanelWidth = 64;

struct Hessian {
  kernels::TrianglePanels layout;
  // Order of processing: step k handles column processing[k]; empty: 0 … C-1.
  std::vector<std::int32_t> processing;
  std::vector<double> diagonal;  // of H, original column order
  std::int64_t tokens = 0;
  // H undamped in factor order (reversed processing order), whole on every rank.
  kernels::TriangleBuffer<float> values;
};

// `inputs` are this rank's sequences, [T_s, C] each, T_s the same for all; `tokens` is the number of
// tokens over all ranks. With act_order columns are processed by falling diagonal.
// Throws Error(bad_input) when an input is not finite.
Hessian sum_hessian(kernels::Backend& backend, cluster::Collective& gang,
                    std::span<const kernels::ConstMatrixView> inputs, std::int64_t columns,
                    std::int64_t tokens, bool act_order, const std::string& label);

struct Factor {
  kernels::TriangleBuffer<float> panels;  // L below the diagonal, whole on every rank
  std::vector<float> pivots;
  double damping = 0;  // what was added to the diagonal
  kernels::FactorView view() const;
};

// LDLᵀ of H plus `fraction` of its mean diagonal, in panels dealt out over the ranks. A Hessian that
// is still not positive definite gets ten times the damping, at most up to the mean diagonal itself;
// then Error(failed) names the column.
Factor factor_hessian(kernels::Backend& backend, cluster::Collective& gang, const Hessian& hessian,
                      double fraction, const std::string& label);

}  // namespace quench::worker
