// Backend on the CPU: a kernel table, a thread pool and scratch memory. Every method cuts its output into
// tiles; cpu_forward.cc has the model, cpu_hessian.cc sums and factors, cpu_solver.cc the solvers.
#pragma once

#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/cpu_codebook.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/cpu_training.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/thread_pool.h"

namespace quench::kernels {

// Memory that is kept between calls and only grows.
class Scratch {
 public:
  float* floats(std::int64_t count) {
    if (static_cast<std::size_t>(count) > memory_.size())
      memory_ = AlignedBuffer<float>(static_cast<std::size_t>(count));
    return memory_.data();
  }

 private:
  AlignedBuffer<float> memory_;
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(const KernelTable& table, int threads);

  std::string_view name() const noexcept override { return table_.name; }
  int thread_count() const noexcept override { return pool_.size(); }
  bool set_products(Products products) noexcept override {
    products_ = products;
    return true;
  }
  std::string_view bf16_products() const noexcept override { return kernels::bf16_products(table_); }

  void gemm(ConstMatrixView x, const WeightView& weight, MatrixView y) noexcept override;
  void gather_columns(ConstMatrixView x, std::span<const std::int32_t> permutation,
                      MatrixView y) noexcept override;
  void embed(std::span<const std::int32_t> ids, const EmbeddingView& table, MatrixView out) noexcept override;
  void rms_norm(ConstMatrixView x, const float* weight, float epsilon, MatrixView y) noexcept override;
  void layer_norm(ConstMatrixView x, const float* weight, const float* bias, float epsilon, MatrixView y) noexcept override;
  void gelu(ConstMatrixView x, MatrixView out) noexcept override;
  void add_bias(const float* bias, MatrixView y) noexcept override;
  void integer_gemm(ConstMatrixView x, float scale, const WeightView& weight, MatrixView y) noexcept override;
  void rope(MatrixView x, const RopeTable& table, std::span<const std::int32_t> positions) noexcept override;
  void silu_multiply(ConstMatrixView gate, ConstMatrixView up, MatrixView out) noexcept override;
  void add(ConstMatrixView x, MatrixView y) noexcept override;
  void append_kv(ConstMatrixView k, ConstMatrixView v, std::span<const KvSegment> segments) noexcept override;
  void attention(ConstMatrixView q, std::span<const KvSegment> segments, float scale,
                 MatrixView out) noexcept override;
  void window_attention(ConstMatrixView q, std::span<const KvSegment> segments, float scale, std::int64_t window,
                        MatrixView out) noexcept override;
  void log_softmax(ConstMatrixView logits, MatrixView out) noexcept override;
  void argmax(ConstMatrixView logits, std::span<std::int32_t> out) noexcept override;
  bool all_finite(ConstMatrixView x) noexcept override;

  void column_exponents(ConstMatrixView x, std::span<std::int32_t> exponents) noexcept override;
  void add_hessian_leaf(ConstMatrixView leaf, const SumScale& scale, const TrianglePanels& layout,
                        std::int64_t* const* sums) noexcept override;
  void build_factor_panel(const TrianglePanels& layout, std::int64_t panel, const std::int64_t* const* sums,
                          const SumScale& scale, std::span<const std::int32_t> order, double diagonal_add,
                          float* out) noexcept override;
  std::int64_t factor_panel(const TrianglePanels& layout, std::int64_t panel, float* data,
                            float* pivots) noexcept override;
  void update_panels(const TrianglePanels& layout, std::int64_t source_panel, const float* source,
                     const float* pivots, float* const* targets) noexcept override;
  void update_panels_by_several(const TrianglePanels& layout, std::int64_t first_source, std::int64_t count,
                                const float* const* panels, const float* pivots,
                                float* const* targets) noexcept override;

  void solve_gptq(ConstMatrixView w, const FactorView& factor, const GridSpec& grid, GroupRule groups,
                  const SolveOutput& out) noexcept override;
  void round_to_nearest(ConstMatrixView w, const GridSpec& grid, const SolveOutput& out) noexcept override;
  void quadratic_losses(ConstMatrixView w, ConstMatrixView dequantized, const TrianglePanels& layout,
                        const float* const* hessian, std::span<double> numerators,
                        std::span<double> denominators) noexcept override;
  void on_host_threads(std::int64_t count, const std::function<void(std::int64_t)>& body) override;
  void solved_losses(ConstMatrixView w, std::int64_t tile_rows, const SolveOutput& solved, double damping, const TrianglePanels& layout,
                     const float* const* hessian, std::span<double> losses,
                     std::span<double> energies) noexcept override;

  Codebooks& codebooks() noexcept override { return codebooks_; }
  Training& training() noexcept override { return training_; }
  Backend& host() noexcept override { return *this; }

 private:
  void row_energies(ConstMatrixView w, const TrianglePanels& layout, const float* const* hessian,
                    std::span<double> energies);
  void update(const TrianglePanels& layout, std::int64_t first_source, std::span<const float* const> sources,
              const float* pivots, float* const* targets) noexcept;
  void brain_gemm(ConstMatrixView x, const WeightView& weight, MatrixView y) noexcept;
  void add_brain_leaf(ConstMatrixView leaf, const SumScale& scale, const TrianglePanels& layout,
                      std::int64_t* const* sums) noexcept;
  template <typename Tile, typename Multiply>
  void for_hessian_tiles(const TrianglePanels& layout, const SumScale& scale, std::int64_t* const* sums,
                         const Multiply& multiply) noexcept;
  template <typename Pack>
  void pack_hessian_blocks(const SumScale& scale, std::int64_t columns, float* factors, const Pack& pack) noexcept;
  void multiply_rows(ConstMatrixView x, const WeightView& weight, MatrixView y) noexcept;

  const KernelTable table_;
  ThreadPool pool_;
  Products products_ = Products::fp32;
  Scratch shared_;
  Scratch shared_second_;
  std::vector<float> row_scales_;
  std::vector<std::int32_t> row_sums_;
  Scratch solver_current_;
  Scratch solver_errors_;
  Scratch solver_codes_;
  Scratch solver_words_;
  std::vector<Scratch> own_;  // one per thread
  CpuCodebooks codebooks_;
  CpuTraining training_;
};

}  // namespace quench::kernels
