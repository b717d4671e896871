// What a backward pass needs beside matrix products: gradients of the block's other operations, and matrices turned into
// what Backend::gemm takes. Host memory; the same bits on every instruction set and for any number of threads.
#pragma once

#include <cstdint>

#include "kernels/tensor_view.h"

namespace quench::kernels {

class Training {
 public:
  virtual ~Training() = default;

  // to[c][r] = from[r][c].
  virtual void transpose(ConstMatrixView from, MatrixView to) = 0;
  // f32 panels (weight_panels.h) of `rows` weights [rows][cols], and of the transpose of a matrix.
  virtual void panels_of(ConstMatrixView rows, float* panels) = 0;
  virtual void panels_of_transpose(ConstMatrixView matrix, float* panels) = 0;

  // Row t of the square matrix: softmax of scale * x over its first t + 1 values, 0 behind them. In place.
  virtual void causal_softmax(MatrixView x, float scale) = 0;
  // With p the result and dp its gradient: dp becomes the gradient of x.
  virtual void causal_softmax_backward(ConstMatrixView p, float scale, MatrixView dp) = 0;
  // y = x / sqrt(mean(x²) + epsilon) * weight: dx is added to, dweight (one chain over the rows each) is set.
  virtual void rms_norm_backward(ConstMatrixView x, const float* weight, float epsilon, ConstMatrixView dy, MatrixView dx,
                                 float* dweight) = 0;
  // out = gate / (1 + exp(-gate)) * up.
  virtual void silu_backward(ConstMatrixView gate, ConstMatrixView up, ConstMatrixView dout, MatrixView dgate,
                             MatrixView dup) = 0;
};

}  // namespace quench::kernels
