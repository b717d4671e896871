// What each method of a job is made of: its grid, what it needs, and how one row tile becomes a chunk.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "schemas/digest.h"
#include "schemas/job_spec.h"
#include "schemas/packed_layout.h"
#include "worker/quantize/hessian.h"

namespace quench::worker {

kernels::GridSpec grid_of(const QuantizeSpec& recipe);

struct SolvedTile {
  std::vector<std::uint8_t> chunk;  // packed_layout.h
  Digest digest;                    // of the chunk
  // tr(ΔHΔᵀ) and tr(WHWᵀ) of the tile's rows, H undamped (the identity without calibration).
  double loss = 0;
  double energy = 0;
};

// Quantizes rows of one linear. `weights` [rows, C] in the source's column order; `hessian` and
// `factor` are null for methods without calibration. `dequantized`, when not empty, receives Ŵ
// [rows, C] in the source's column order.
SolvedTile solve_tile(kernels::Backend& backend, const QuantizeSpec& recipe, kernels::ConstMatrixView weights,
                      const Hessian* hessian, const Factor* factor, std::span<float> dequantized = {});
// The same for several tiles of `rows_per_tile` rows (the last may have fewer) one below the other: their results are
// those of each alone, but the factor is brought into the solver's order once for all of them.
std::vector<SolvedTile> solve_tiles(kernels::Backend& backend, const QuantizeSpec& recipe,
                                    kernels::ConstMatrixView weights, std::int64_t rows_per_tile,
                                    const Hessian* hessian, const Factor* factor, std::span<float> dequantized = {});
// How many rows, in whole tiles, the backend is to be given at once.
std::int64_t rows_solved_together(const kernels::Backend& backend, std::int64_t rows_per_tile, std::int64_t columns);

}  // namespace quench::worker
