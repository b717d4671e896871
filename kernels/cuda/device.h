// What the backend needs of a device: memory, copies and launches, all in one stream, in order. CudaDevice
// (cuda_device.cu) is a GPU; the tests' EmulatedDevice runs the same kernels on the host in memory of its own.
//
// Every method may throw DeviceError: the call, its words, and for memory the bytes wanted and free. After that the
// device may be unusable: the rank reports it and ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/gptq.h"
#include "kernels/cuda/group.h"
#include "kernels/cuda/hessian.h"
#include "kernels/cuda/leaf_split.h"
#include "kernels/cuda/losses.h"
#include "kernels/cuda/packed_gemv.h"
#include "kernels/device_error.h"

namespace quench::kernels::cuda {

// Every kernel, for the declarations of its launch.
#define QUENCH_DEVICE_KERNELS(X)                                                                                  \
  X(GemmTallTile) X(GemmFlatTile) X(ExpandWeights) X(GemvChains)                                                  \
  X(GemvSlicesDense1) X(GemvSlicesDense8) X(GemvSlicesQ8x1) X(GemvSlicesQ8x8) X(GemvSlicesQ4x1)                   \
  X(GemvSlicesQ4x8) X(GemvSlicesQ3x1) X(GemvSlicesQ3x8) X(GemvSlicesQ2x1) X(GemvSlicesQ2x8)                       \
  X(RmsNorm) X(Rope) X(SiluMultiply) X(AddRows) X(GatherColumns) X(Embed) X(ArgMax) X(LogSoftmax)                 \
  X(ColumnExponents) X(FindNonFinite) X(WidenHalves)                                                             \
  X(AppendKv) X(AttentionScoresTall) X(AttentionScoresFlat) X(AttentionSoftmax) X(AttentionValuesTall)            \
  X(AttentionValuesFlat)                                                                                          \
  X(HessianLeaf) X(SplitLeaf) X(AddLeafStrips) X(FactorPanelBuild) X(FactorDiagonal) X(FactorBelow) X(PanelUpdate) \
  X(ToColumns) X(GridFit) X(SolveColumnsTile) X(FeedbackTall) X(FeedbackFlat) X(RoundColumns) X(FromColumns)      \
  X(GridsToRows) X(LossProducts) X(LossFold) X(LowerStrip) X(EnergyFold) X(DampedLosses)

class Device {
 public:
  virtual ~Device() = default;
  // "NVIDIA H100 80GB HBM3, 132 multiprocessors".
  virtual std::string description() const = 0;

  // 256-byte aligned; contents unset.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  virtual std::size_t free_bytes() = 0;

  // Rows of `row_bytes` bytes; the host's memory may be reused once the call returns.
  virtual void copy_in(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, std::size_t row_bytes,
                       std::size_t rows) = 0;
  virtual void copy_out(void* to, std::size_t to_stride, const void* from, std::size_t from_stride,
                        std::size_t row_bytes, std::size_t rows) = 0;
  virtual void copy_within(void* to, const void* from, std::size_t bytes) = 0;
  // Makes host memory that is copied again and again fast to copy, until unpin. False where that is not possible.
  virtual bool pin(void* host, std::size_t bytes) noexcept = 0;
  virtual void unpin(void* host) noexcept = 0;
  virtual void set_zero(void* memory, std::size_t bytes) = 0;
  // Until everything launched has ended; throws what it failed with.
  virtual void wait() = 0;

  // y[M, N] = x[M, K] wᵀ with w row-major [N, K], on tensor cores: operands are rounded to TF32 (11 bits), sums are fp32.
  virtual void multiply_tf32(ConstMatrixView x, ConstMatrixView w, MatrixView y) = 0;
  // out[i, j] = Σ_k left[k][i] right[k][j] of bf16 values, rows of left and right `pitch` apart, sums in fp32.
  virtual void multiply_brain(const std::uint16_t* left, const std::uint16_t* right, std::int64_t pitch, std::int64_t depth,
                              MatrixView out) = 0;

#define QUENCH_LAUNCH(Kernel) virtual void launch(const Kernel& kernel, Grid grid) = 0;
  QUENCH_DEVICE_KERNELS(QUENCH_LAUNCH)
#undef QUENCH_LAUNCH
};

}  // namespace quench::kernels::cuda
