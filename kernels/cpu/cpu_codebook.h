// Additive codebooks on the CPU backend's threads. Threads share out panels of sixteen rows; what is summed over rows
// is summed as integers, each thread's apart and then together.
#pragma once

#include <vector>

#include "kernels/backend.h"
#include "kernels/codebook.h"
#include "kernels/cpu/codebook_table.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/thread_pool.h"

namespace quench::kernels {

// The kernels of an instruction set by its name ("scalar", "avx2", "avx512").
CodebookTable make_codebook_table(std::string_view isa);

class CpuCodebooks final : public Codebooks {
 public:
  // Refers to the backend's own table and pool.
  CpuCodebooks(Backend& backend, const KernelTable& table, ThreadPool& pool);

  void gemm(ConstMatrixView x, const AdditiveView& weight, MatrixView y) override;
  void dequantize(const AdditiveView& weight, MatrixView out) override;
  void residual(const AdditiveView& shape, const float* weights, float* panels) override;
  void products(ConstMatrixView h, const float* panels, MatrixView y) override;
  void row_dots(const float* panels, ConstMatrixView y, std::span<double> dots) override;
  float largest(ConstMatrixView y, const float* factors) override;
  void add_to_entries(const AdditiveView& shape, ConstMatrixView y, const float* factors, const EntrySums& out) override;
  void add_diagonal(const AdditiveView& shape, const float* diagonal, const float* factors,
                    const EntrySums& out) override;
  void search(const CodebookSearch& pass) override;
  void nearest(const float* entries, std::int64_t count, int group, const float* points, std::int64_t panels,
               std::int32_t* index) override;

 private:
  template <typename Value>
  void add_values(const AdditiveView& shape, const EntrySums& out, const Value& value);
  // norms[m][e] = entry · Q entry for each of `groups` metrics.
  void norms_of(const float* entries, std::int64_t sets, std::int64_t count, int group, const float* metric,
                std::int64_t groups, float* norms);

  Backend& backend_;
  const KernelTable& table_;
  ThreadPool& pool_;
  CodebookTable codebook_;
  std::vector<AlignedBuffer<float>> own_;  // one per thread
  AlignedBuffer<float> columns_, norms_, products_;
  std::vector<std::vector<std::int64_t>> sums_;
};

}  // namespace quench::kernels
