// Where the codebooks of a linear start: residual k-means on a seeded sample of its groups, rows divided by their root
// mean square. The points are shared out over the ranks and their sums are exact, so that every rank ends with the
// same entries, whatever the number of ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cluster/collective/collective.h"
#include "kernels/backend.h"
#include "schemas/job_spec.h"

namespace quench::worker {

// All rows of a linear; every rank can read every row.
struct LinearRows {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::function<void(std::int64_t row, float* out)> read;
};

// The root mean square of a row, 0 for a row of zeros.
float row_scale(const float* row, std::int64_t cols);

// [codebooks][2^bits][group]. Collective.
std::vector<float> start_codebooks(kernels::Codebooks& kernels, cluster::Collective& gang, const QuantizeSpec& recipe,
                                   const LinearRows& linear, const std::string& label);

}  // namespace quench::worker
