// Sixteen rows of weights as lanes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/tensor_view.h"

namespace quench::kernels {

// [C][stride] from row-major w: lane r of panel p is row 16p + r; missing rows are zero. By whole cache lines of each row,
// because sixteen rows of a power of two share a set of the first-level cache, which holds eight.
inline void transpose_panel(ConstMatrixView w, std::int64_t panel, float* to, std::int64_t stride) {
  const std::int64_t rows = std::min<std::int64_t>(16, w.rows - panel * 16);
  const float* from = w.row(panel * 16);
  float tile[16][16] = {};
  std::int64_t k = 0;
  for (; k + 16 <= w.cols; k += 16) {
    for (std::int64_t lane = 0; lane < rows; ++lane) std::memcpy(tile[lane], from + lane * w.stride + k, sizeof tile[lane]);
    for (std::int64_t i = 0; i < 16; ++i) {
      float* column = to + (k + i) * stride;
      for (std::int64_t lane = 0; lane < 16; ++lane) column[lane] = tile[lane][i];
    }
  }
  for (; k < w.cols; ++k) {
    float* column = to + k * stride;
    for (std::int64_t lane = 0; lane < rows; ++lane) column[lane] = from[lane * w.stride + k];
    for (std::int64_t lane = rows; lane < 16; ++lane) column[lane] = 0.0f;
  }
}

}  // namespace quench::kernels
