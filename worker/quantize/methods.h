// What each method of a job is made of: its grid, what it needs, and how one row tile becomes a chunk.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "schemas/job_spec.h"
#include "schemas/packed_layout.h"
#include "worker/quantize/hessian.h"

namespace quench::worker {

// gptq: the Hessian of calibration sequences run through the already quantized prefix.
bool needs_calibration(Method method);
kernels::GridSpec grid_of(const QuantizeSpec& recipe);

struct SolvedTile {
  std::vector<std::uint8_t> chunk;  // packed_layout.h
  // tr(ΔHΔᵀ) and tr(WHWᵀ) of the tile's rows, H undamped (the identity without calibration).
  double loss = 0;
  double energy = 0;
};

// Quantizes rows of one linear. `weights` [rows, C] in the source's column order; `hessian` and
// `factor` are null for methods without calibration. `dequantized`, when not empty, receives Ŵ
// [rows, C] in the source's column order.
SolvedTile solve_tile(kernels::Backend& backend, const QuantizeSpec& recipe, kernels::ConstMatrixView weights,
                      const Hessian* hessian, const Factor* factor, std::span<float> dequantized = {});

}  // namespace quench::worker
