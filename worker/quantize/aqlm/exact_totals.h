// Sums over the rows of all ranks that do not depend on how the rows are shared out: each number is rounded once to a
// fixed point that all ranks agree on, and integers are added (DESIGN.md section 3). Collective calls.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cluster/collective/collective.h"
#include "kernels/backend.h"

namespace quench::worker {

// The sum of all ranks' numbers; at most 2^32 of them together.
double exact_total(cluster::Collective& gang, std::span<const double> own, const std::string& label);

// The fixed point for `count` addends (over all ranks) of which the largest here is `own_largest`: 2^shift.
double shared_unit(cluster::Collective& gang, double own_largest, double count, const std::string& label);

// Codebooks::add_to_entries over all ranks' rows: [codebooks][entries][group], the same on every rank.
// `total_rows` counts all ranks' rows.
std::vector<double> entry_totals(kernels::Codebooks& kernels, cluster::Collective& gang, const kernels::AdditiveView& shape,
                                 kernels::ConstMatrixView y, std::span<const float> factors, std::int64_t total_rows,
                                 const std::string& label);
// The same with y[k][lane] = diagonal[k].
std::vector<double> diagonal_totals(kernels::Codebooks& kernels, cluster::Collective& gang,
                                    const kernels::AdditiveView& shape, std::span<const float> diagonal,
                                    std::span<const float> factors, std::int64_t total_rows, const std::string& label);

}  // namespace quench::worker
