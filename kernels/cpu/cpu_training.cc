#include "kernels/cpu/cpu_training.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/weight_panels.h"

namespace quench::kernels {
namespace {

// Rows of a matrix that a thread should at least get.
constexpr std::int64_t kGrain = 16;
constexpr std::int64_t kBlock = 16;  // of a transposition

}  // namespace

void CpuTraining::transpose(ConstMatrixView from, MatrixView to) {
  pool_.for_range((from.cols + kBlock - 1) / kBlock, 1, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t last = std::min(from.cols, (block + 1) * kBlock);
      for (std::int64_t r = 0; r < from.rows; ++r)
        for (std::int64_t c = block * kBlock; c < last; ++c) to.row(c)[r] = from.row(r)[c];
    }
  });
}

void CpuTraining::panels_of(ConstMatrixView rows, float* panels) {
  pool_.for_range(panel_count(rows.rows), 1, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) {
      float* to = panels + p * rows.cols * 16;
      const std::int64_t lanes = std::min<std::int64_t>(16, rows.rows - p * 16);
      for (std::int64_t k = 0; k < rows.cols; ++k)
        for (std::int64_t lane = 0; lane < 16; ++lane) to[k * 16 + lane] = lane < lanes ? rows.row(p * 16 + lane)[k] : 0.0f;
    }
  });
}

void CpuTraining::panels_of_transpose(ConstMatrixView matrix, float* panels) {
  pool_.for_range(panel_count(matrix.cols), 1, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) {
      float* to = panels + p * matrix.rows * 16;
      const std::int64_t lanes = std::min<std::int64_t>(16, matrix.cols - p * 16);
      for (std::int64_t r = 0; r < matrix.rows; ++r) {
        const float* from = matrix.row(r) + p * 16;
        for (std::int64_t lane = 0; lane < 16; ++lane) to[r * 16 + lane] = lane < lanes ? from[lane] : 0.0f;
      }
    }
  });
}

void CpuTraining::causal_softmax(MatrixView x, float scale) {
  pool_.for_range(x.rows, kGrain, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* row = x.row(t);
      const std::int64_t count = t + 1;
      for (std::int64_t j = 0; j < count; ++j) row[j] *= scale;
      float most = 0, sum = 0;
      table_.softmax_sum(row, count, &most, &sum);
      table_.shift(row, count, most, 0.0f, row);
      table_.exp(row, count, row);
      const float inverse = 1.0f / sum;
      for (std::int64_t j = 0; j < count; ++j) row[j] *= inverse;
      std::fill(row + count, row + x.cols, 0.0f);
    }
  });
}

void CpuTraining::causal_softmax_backward(ConstMatrixView p, float scale, MatrixView dp) {
  pool_.for_range(p.rows, kGrain, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* probability = p.row(t);
      float* gradient = dp.row(t);
      double sum = 0;
      for (std::int64_t j = 0; j <= t; ++j) sum += static_cast<double>(probability[j]) * static_cast<double>(gradient[j]);
      const float mean = static_cast<float>(sum);
      for (std::int64_t j = 0; j <= t; ++j) gradient[j] = probability[j] * (gradient[j] - mean) * scale;
      std::fill(gradient + t + 1, gradient + dp.cols, 0.0f);
    }
  });
}

void CpuTraining::rms_norm_backward(ConstMatrixView x, const float* weight, float epsilon, ConstMatrixView dy, MatrixView dx,
                                    float* dweight) {
  std::vector<float> factors(static_cast<std::size_t>(x.rows));
  pool_.for_range(x.rows, kGrain, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float *value = x.row(t), *gradient = dy.row(t);
      double squares = 0, along = 0;
      for (std::int64_t c = 0; c < x.cols; ++c) {
        squares += static_cast<double>(value[c]) * static_cast<double>(value[c]);
        along += static_cast<double>(gradient[c]) * static_cast<double>(weight[c]) * static_cast<double>(value[c]);
      }
      const double columns = static_cast<double>(x.cols);
      const double factor = 1.0 / std::sqrt(squares / columns + static_cast<double>(epsilon));
      const auto f = static_cast<float>(factor), pull = static_cast<float>(factor * factor * factor * along / columns);
      factors[static_cast<std::size_t>(t)] = f;
      float* out = dx.row(t);
      for (std::int64_t c = 0; c < x.cols; ++c) out[c] += f * (gradient[c] * weight[c]) - pull * value[c];
    }
  });
  pool_.for_range(x.cols, kGrain, [&](int, std::int64_t begin, std::int64_t end) {
    std::fill(dweight + begin, dweight + end, 0.0f);
    for (std::int64_t t = 0; t < x.rows; ++t) {
      const float *value = x.row(t), *gradient = dy.row(t);
      const float f = factors[static_cast<std::size_t>(t)];
      for (std::int64_t c = begin; c < end; ++c) dweight[c] += gradient[c] * (value[c] * f);
    }
  });
}

void CpuTraining::silu_backward(ConstMatrixView gate, ConstMatrixView up, ConstMatrixView dout, MatrixView dgate,
                                MatrixView dup) {
  pool_.for_range(gate.rows, kGrain, [&](int, std::int64_t begin, std::int64_t end) {
    std::vector<float> power(static_cast<std::size_t>(gate.cols));
    for (std::int64_t t = begin; t < end; ++t) {
      const float *g = gate.row(t), *u = up.row(t), *gradient = dout.row(t);
      for (std::int64_t c = 0; c < gate.cols; ++c) power[static_cast<std::size_t>(c)] = -g[c];
      table_.exp(power.data(), gate.cols, power.data());
      float *dg = dgate.row(t), *du = dup.row(t);
      for (std::int64_t c = 0; c < gate.cols; ++c) {
        const float sigmoid = 1.0f / (1.0f + power[static_cast<std::size_t>(c)]);
        const float d = gradient[c];
        du[c] = d * (g[c] * sigmoid);
        dg[c] = d * u[c] * (sigmoid * (1.0f + g[c] * (1.0f - sigmoid)));
      }
    }
  });
}

}  // namespace quench::kernels
