#pragma once

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/training.h"

namespace quench::kernels {

class CpuTraining final : public Training {
 public:
  CpuTraining(const KernelTable& table, ThreadPool& pool) : table_(table), pool_(pool) {}

  void transpose(ConstMatrixView from, MatrixView to) override;
  void panels_of(ConstMatrixView rows, float* panels) override;
  void panels_of_transpose(ConstMatrixView matrix, float* panels) override;
  void causal_softmax(MatrixView x, float scale) override;
  void causal_softmax_backward(ConstMatrixView p, float scale, MatrixView dp) override;
  void rms_norm_backward(ConstMatrixView x, const float* weight, float epsilon, ConstMatrixView dy, MatrixView dx,
                         float* dweight) override;
  void silu_backward(ConstMatrixView gate, ConstMatrixView up, ConstMatrixView dout, MatrixView dgate,
                     MatrixView dup) override;

 private:
  const KernelTable& table_;
  ThreadPool& pool_;
};

}  // namespace quench::kernels
