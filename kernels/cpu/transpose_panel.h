// Sixteen rows of weights as lanes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/tensor_view.h"

namespace quench::kernels {

// [C][stride] from row-major w: lane r of panel p is row 16p + r; missing rows are zero. Columns are the
// outer loop: sixteen sequential reads and one sequential write.
inline void transpose_panel(ConstMatrixView w, std::int64_t panel, float* to, std::int64_t stride) {
  const std::int64_t rows = std::min<std::int64_t>(16, w.rows - panel * 16);
  const float* from = w.row(panel * 16);
  for (std::int64_t k = 0; k < w.cols; ++k) {
    float* column = to + k * stride;
    for (std::int64_t lane = 0; lane < rows; ++lane) column[lane] = from[lane * w.stride + k];
    for (std::int64_t lane = rows; lane < 16; ++lane) column[lane] = 0.0f;
  }
}

}  // namespace quench::kernels
