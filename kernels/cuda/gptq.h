// GPTQ as LDLQ and rounding to nearest (kernels/gptq.h), with the CPU's bits. Weights are held as
// columns of rows, [C][stride], so that threads side by side are rows. Where the CPU brings a column up when it is
// reached, the feedback of a solved block goes at once to all columns behind it: the same chain for each column, and
// enough work for a GPU.
#pragma once

#include "kernels/cuda/hessian.h"
#include "kernels/tensor_view.h"

namespace quench::kernels::cuda {

// S[j][k] of kernels/hessian.h straight from the factor's panels, j < k.
struct FeedbackView {
  TrianglePanels layout;
  const float* const* panels = nullptr;
  const float* pivots = nullptr;

  // Where S[j][k] is; that of j + 1 lies the panels' width before it.
  QUENCH_DEVICE const float* from(std::int64_t j, std::int64_t k) const {
    const std::int64_t row = layout.columns - 1 - j, col = layout.columns - 1 - k, panel = panel_of(layout, col);
    return panels[panel] + layout.index(panel, row, col);
  }
  QUENCH_DEVICE float at(std::int64_t j, std::int64_t k) const { return *from(j, k); }
  QUENCH_DEVICE float pivot(std::int64_t k) const { return pivots[layout.columns - 1 - k]; }
};

// One or two copies of w as columns of rows; rows beyond the last are zero. Grid: x tiles of 32 columns, y of 32 rows.
struct ToColumns {
  static constexpr int kThreads = 256;
  struct Shared {
    float tile[32][33];
  };
  ConstMatrixView w;
  std::int64_t stride = 0;
  float* first = nullptr;
  float* second = nullptr;  // may be null

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const std::int64_t col0 = group.x() * 32, row0 = group.y() * 32;
    group.each([&](int thread) {
      for (int row = thread / 32; row < 32; row += 8) {
        const std::int64_t r = row0 + row, c = col0 + thread % 32;
        shared.tile[row][thread % 32] = r < w.rows && c < w.cols ? w.data[r * w.stride + c] : 0.0f;
      }
    });
    group.each([&](int thread) {
      for (int col = thread / 32; col < 32; col += 8) {
        const std::int64_t r = row0 + thread % 32, c = col0 + col;
        if (c >= w.cols || r >= stride) continue;
        first[c * stride + r] = shared.tile[thread % 32][col];
        if (second != nullptr) second[c * stride + r] = shared.tile[thread % 32][col];
      }
    });
  }
};

struct GridFitResult {
  float scale = 1.0f;
  float zero = 0.0f;
};

// The grids of groups [first_group, first_group + grid y) from columns `current`, whose column 0 is column
// `first_column` of the matrix. Grid: x blocks of rows, y groups. cpu/lanes/grid.inl in scalars.
struct GridFit {
  static constexpr int kThreads = 64;
  struct Shared {};
  const float* current = nullptr;
  std::int64_t stride = 0;
  std::int64_t first_column = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;  // of the matrix
  std::int64_t first_group = 0;
  GridSpec grid;                        // group_size > 0
  std::uint16_t* scale_bits = nullptr;  // [groups][stride]
  float* scales = nullptr;
  float* zeros = nullptr;

  QUENCH_DEVICE GridFitResult fit(float low, float high, float shrink) const {
    const float code_max = static_cast<float>((1 << grid.bits) - 1);
    const float middle = static_cast<float>(1 << (grid.bits - 1));
    float span = high * shrink - low * shrink;
    float steps = code_max;
    if (grid.kind == GridKind::absmax) {
      span = high * shrink;
      steps = middle - 1.0f;
    }
    float scale = span > 0.0f ? span / steps : 1.0f;
    scale = minimum(maximum(scale, 5.9604644775390625e-8f), 65504.0f);
    scale = half_to_float(float_to_half(scale));
    float zero = middle;
    if (grid.kind == GridKind::asymmetric) {
      const float ratio = (0.0f - low * shrink) / scale;
      zero = round_level(minimum(maximum(ratio, 0.0f), code_max));
    }
    return {scale, zero};
  }

  QUENCH_DEVICE float squared_error(const float* column, std::int64_t count, GridFitResult fitted, float code_max) const {
    const float inverse = 1.0f / fitted.scale;
    float sum = 0.0f;
    for (std::int64_t k = 0; k < count; ++k) {
      const float value = column[k * stride];
      const float miss = value - nearest_level(value * inverse, fitted.zero, code_max) * fitted.scale;
      sum = fused(miss, miss, sum);
    }
    return sum;
  }

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    group.each([&](int thread) {
      const std::int64_t row = group.x() * kThreads + thread, index = first_group + group.y();
      if (row >= rows) return;
      const std::int64_t begin = index * grid.group_size;
      const std::int64_t count = columns - begin < grid.group_size ? columns - begin : grid.group_size;
      const float* column = current + (begin - first_column) * stride + row;
      float low = 0.0f, high = 0.0f;
      for (std::int64_t k = 0; k < count; ++k) {
        const float value = column[k * stride];
        low = minimum(value, low);
        high = maximum(value, high);
      }
      if (grid.kind != GridKind::asymmetric) {
        high = maximum(0.0f - low, high);
        low = 0.0f - high;
      }
      GridFitResult best = fit(low, high, 1.0f);
      if (grid.rule == ScaleRule::search) {
        const float code_max = static_cast<float>((1 << grid.bits) - 1);
        float least = squared_error(column, count, best, code_max);
        for (int percent = 99; percent >= 20; --percent) {
          const GridFitResult fitted = fit(low, high, static_cast<float>(percent) / 100.0f);
          const float error = squared_error(column, count, fitted, code_max);
          if (least > error) best = fitted;
          least = minimum(error, least);
        }
      }
      const std::int64_t at = index * stride + row;
      scale_bits[at] = float_to_half(best.scale);
      scales[at] = best.scale;
      zeros[at] = best.zero;
    });
  }
};

// Columns [begin, end), at most 64, one after the other: rounded to their group's grid, or (grid null) taken as they
// are, which gives W' of kernels/gptq.h. `current` and `errors` begin at column `first_column`. Four threads share a
// row. Grid: x blocks of 32 rows.
struct SolveColumnsTile {
  static constexpr int kThreads = 128;
  static constexpr int kRows = 32;
  static constexpr int kColumnsMax = 64;
  struct Shared {
    float current[kColumnsMax][kRows];
    float errors[kColumnsMax][kRows];
    float feedback[kColumnsMax][kColumnsMax];
    float pivots[kColumnsMax];
  };
  float* current = nullptr;
  float* errors = nullptr;  // the weights, overwritten by W - Ŵ
  std::int64_t stride = 0;
  std::int64_t first_column = 0;
  std::int64_t rows = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  FeedbackView feedback;
  const float* scale = nullptr;  // of this group, by row; null: nothing is rounded
  const float* zero = nullptr;
  float code_max = 0.0f;
  std::uint8_t* codes = nullptr;  // [C][stride]
  double* losses = nullptr;       // by row, added to

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const int width = static_cast<int>(end - begin);
    const std::int64_t row0 = group.x() * kRows;
    float* from = current + (begin - first_column) * stride + row0;
    float* error_at = errors + (begin - first_column) * stride + row0;
    struct Row {
      float scale, zero;
      double loss;
    };
    typename Group::template Local<Row> own(group);
    group.each([&](int thread) {
      const int row = thread % kRows;
      for (int k = thread / kRows; k < width; k += kThreads / kRows) {
        shared.current[k][row] = from[k * stride + row];
        shared.errors[k][row] = error_at[k * stride + row];
      }
      for (int element = thread; element < width * width; element += kThreads) {
        const int j = element / width, k = element % width;
        shared.feedback[j][k] = j < k ? feedback.at(begin + j, begin + k) : 0.0f;
      }
      if (thread < width && losses != nullptr) shared.pivots[thread] = feedback.pivot(begin + thread);
      const bool rounds = scale != nullptr && row0 + row < rows;
      own[thread] = {rounds ? scale[row0 + row] : 1.0f, rounds ? zero[row0 + row] : 0.0f,
                     losses != nullptr ? losses[row0 + row] : 0.0};
    });
    // All four threads of a row round it, so that a column costs one meeting; the first puts down what came of it.
    for (int k = 0; k < width; ++k) {
      group.each([&](int thread) {
        const int row = thread % kRows;
        const float value = shared.current[k][row];
        float rounded = value;
        if (scale != nullptr) {
          Row& mine = own[thread];
          const float level = nearest_level(value / mine.scale, mine.zero, code_max);
          rounded = level * mine.scale;
          if (thread < kRows) {
            codes[(begin + k) * stride + row0 + row] = static_cast<std::uint8_t>(level + mine.zero);
            const double miss = static_cast<double>(value - rounded);
            if (losses != nullptr) mine.loss = fused(miss * miss, static_cast<double>(shared.pivots[k]), mine.loss);
          }
        }
        const float error = shared.errors[k][row] - rounded;
        if (thread < kRows) error_at[k * stride + row] = error;
        for (int next = k + 1 + thread / kRows; next < width; next += kThreads / kRows)
          shared.current[next][row] = fused(error, shared.feedback[k][next], shared.current[next][row]);
      });
    }
    group.each([&](int thread) {
      const int row = thread % kRows;
      if (losses != nullptr && thread < kRows) losses[row0 + row] = own[thread].loss;
      if (scale != nullptr) return;
      for (int k = thread / kRows; k < width; k += kThreads / kRows) from[k * stride + row] = shared.current[k][row];
    });
  }
};

// current[k] += Σ_{first <= j < last} E_j S_jk for k in [begin, end): the chain goes on where it was. Arrays begin at
// column `first_column`. Grid: x tiles of 128 rows, y tiles of 16 * RowsPer columns k.
template <int RowsPer>
struct FeedbackProduct {
  static constexpr int kThreads = kTileThreads;
  static constexpr int kBlocks = kTileBlocks;
  static constexpr int kColumns = 16 * RowsPer;
  using Shared = TileShared<RowsPer>;
  float* current = nullptr;
  const float* errors = nullptr;
  std::int64_t stride = 0;
  std::int64_t first_column = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t first = 0;
  std::int64_t last = 0;
  FeedbackView feedback;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const std::int64_t row0 = group.x() * kTileCols, k0 = begin + group.y() * kColumns;
    const auto place = [&](int thread, int i, int j) -> float* {
      const std::int64_t k = k0 + tile_row<RowsPer>(thread, i), row = row0 + tile_col(thread, j);
      return k < end && row < stride ? current + (k - first_column) * stride + row : nullptr;
    };
    typename Group::template Local<TileSums<RowsPer>> values(group);
    group.each([&](int thread) {
      QUENCH_UNROLL
      for (int i = 0; i < RowsPer; ++i) {
        QUENCH_UNROLL
        for (int j = 0; j < 8; ++j) {
          const float* from = place(thread, i, j);
          values[thread].v[i][j] = from != nullptr ? *from : 0.0f;
        }
      }
    });
    multiply_tile<RowsPer, LoadOrder::index_first, LoadOrder::index_first>(
        group, shared, values, last - first,
        [&](int k) {
          return [from = feedback.from(first, line_inside(k0 + k, end)), width = feedback.layout.width](std::int64_t j) {
            return from[-j * width];
          };
        },
        [&](int row) {
          return [&, from = errors + (first - first_column) * stride + line_inside(row0 + row, stride)](std::int64_t j) {
            return from[j * stride];
          };
        },
        NoLimit{});
    group.each([&](int thread) {
      QUENCH_UNROLL
      for (int i = 0; i < RowsPer; ++i) {
        QUENCH_UNROLL
        for (int j = 0; j < 8; ++j) {
          float* to = place(thread, i, j);
          if (to != nullptr) *to = values[thread].v[i][j];
        }
      }
    });
  }
};

// Rounds columns without feedback. Grid: x blocks of rows, y columns.
struct RoundColumns {
  static constexpr int kThreads = 64;
  struct Shared {};
  const float* current = nullptr;
  std::int64_t stride = 0;
  std::int64_t rows = 0;
  std::int64_t group_size = 0;
  const float* scales = nullptr;
  const float* zeros = nullptr;
  float code_max = 0.0f;
  std::uint8_t* codes = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    group.each([&](int thread) {
      const std::int64_t row = group.x() * kThreads + thread, k = group.y();
      if (row >= rows) return;
      const std::int64_t at = k / group_size * stride + row;
      const float level = nearest_level(current[k * stride + row] / scales[at], zeros[at], code_max);
      codes[k * stride + row] = static_cast<std::uint8_t>(level + zeros[at]);
    });
  }
};

// Codes as columns of rows to rows, and the values they stand for. Grid: x tiles of 32 columns, y of 32 rows.
struct FromColumns {
  static constexpr int kThreads = 256;
  struct Shared {
    std::uint8_t tile[32][36];
  };
  const std::uint8_t* codes = nullptr;
  std::int64_t stride = 0;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t group_size = 0;
  const float* scales = nullptr;  // [groups][stride]
  const float* zeros = nullptr;
  std::uint8_t* out = nullptr;  // [rows][cols]
  MatrixView dequantized;       // or data == nullptr

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const std::int64_t col0 = group.x() * 32, row0 = group.y() * 32;
    group.each([&](int thread) {
      for (int col = thread / 32; col < 32; col += 8) {
        const std::int64_t r = row0 + thread % 32, c = col0 + col;
        if (r < rows && c < cols) shared.tile[col][thread % 32] = codes[c * stride + r];
      }
    });
    group.each([&](int thread) {
      for (int row = thread / 32; row < 32; row += 8) {
        const std::int64_t r = row0 + row, c = col0 + thread % 32;
        if (r >= rows || c >= cols) continue;
        const std::uint8_t code = shared.tile[thread % 32][row];
        out[r * cols + c] = code;
        if (dequantized.data == nullptr) continue;
        const std::int64_t at = c / group_size * stride + r;
        dequantized.data[r * dequantized.stride + c] = (static_cast<float>(code) - zeros[at]) * scales[at];
      }
    });
  }
};

// Scales and zeros as [groups][stride] to rows of groups. Grid: x blocks of rows, y groups.
struct GridsToRows {
  static constexpr int kThreads = 64;
  struct Shared {};
  const std::uint16_t* scale_bits = nullptr;
  const float* zeros = nullptr;
  std::int64_t stride = 0;
  std::int64_t rows = 0;
  std::int64_t groups = 0;
  std::uint16_t* scales_out = nullptr;
  std::uint8_t* zeros_out = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    group.each([&](int thread) {
      const std::int64_t row = group.x() * kThreads + thread, index = group.y();
      if (row >= rows) return;
      scales_out[row * groups + index] = scale_bits[index * stride + row];
      zeros_out[row * groups + index] = static_cast<std::uint8_t>(zeros[index * stride + row]);
    });
  }
};

using FeedbackTall = FeedbackProduct<8>;
using FeedbackFlat = FeedbackProduct<1>;

}  // namespace quench::kernels::cuda
