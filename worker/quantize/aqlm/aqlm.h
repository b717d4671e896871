// AQLM (2401.06118) of one linear, by the whole gang: sums of codebook entries that minimise the sum over rows of
// Δ H Δᵀ. The authors' loop, with its structure used:
//
//   start       residual k-means on a sample (start.h); then all codes by LDLQ, each group's error made good for by
//               the groups behind it, which no later improvement of single groups would find; from two dampings, of
//               which the better one after some rounds goes on
//   codebooks   a linear least-squares problem in the entries: conjugate gradients, whose operator is decode, times H,
//               scatter. The scatter is the only sum over rows, and it is exact (exact_totals.h)
//   scales      in closed form, row by row
//   codes       one group at a time against H, every row by itself: a matrix product and a scan for the least score
//
// until a round gains less than the tolerance. Rows belong to the ranks that hold them; everything shared (entries,
// totals, decisions) is the same on every rank, and a row's codes depend on nothing but its weights and what is shared.
// Memory beside the linear's weights for R own rows and K inputs: 12 bytes * R * K, and 10 bytes * K².
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cluster/collective/collective.h"
#include "kernels/backend.h"
#include "schemas/job_spec.h"
#include "schemas/packed_layout.h"
#include "worker/quantize/aqlm/start.h"
#include "worker/quantize/hessian.h"

namespace quench::worker {

struct AdditiveSolution {
  AdditiveTileShape shape;              // of all own rows together
  std::vector<std::uint16_t> codebook;  // fp16 [codebooks][2^bits][group], the same on every rank
  std::vector<float> entries;           // the same as fp32
  std::vector<std::uint16_t> codes;     // own rows: [panels][groups][codebooks][16]
  std::vector<std::uint16_t> scales;    // own rows, fp16 [panels][16]
  std::vector<double> losses;           // own rows: Δ H Δᵀ
  std::vector<double> energies;         // own rows: w H wᵀ
  int rounds = 0;

  std::vector<std::uint8_t> codebook_chunk() const;
  // Rows [first, first + rows) of the own ones, as packed_layout.h has it; `first` is a multiple of 16.
  std::vector<std::uint8_t> tile_chunk(std::int64_t first, std::int64_t rows) const;
};

// Throws Error(bad_input) naming `label` when the linear cannot be made of such codebooks.
void check_additive(const QuantizeSpec& recipe, std::int64_t rows, std::int64_t cols, const std::string& label);

// H factored for each start. Collective.
std::vector<Factor> factor_for_starts(kernels::Backend& backend, cluster::Collective& gang, const Hessian& hessian,
                                      const std::string& label);

// `own` [R, K] are this rank's rows (R may be 0), `linear` all of them. H and its factors are in the reversed order of
// hessian.h, without act-order. Collective; throws what the gang throws.
AdditiveSolution solve_additive(kernels::Backend& backend, cluster::Collective& gang, const QuantizeSpec& recipe,
                                kernels::ConstMatrixView own, const LinearRows& linear, const Hessian& hessian,
                                std::span<const Factor> starts, const std::string& label);

}  // namespace quench::worker
