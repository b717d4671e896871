// Backend on a device: it puts the operands there, cuts the work into grids and launches. cuda_forward.cc has the model,
// cuda_hessian.cc sums and factors, cuda_solver.cc the solvers. No CUDA header is included here: what is CUDA's
// is behind Device.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cuda/device_memory.h"

namespace quench::kernels::cuda {

enum class Arithmetic {
  exact,   // the CPU's bits everywhere; fp32 cores
  tensor,  // products and Hessian leaves on tensor cores, decoding with sixteen partial sums: tolerances.h
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::unique_ptr<Device> device, Arithmetic arithmetic, int host_threads = 1);
  ~CudaBackend() override;

  std::string_view name() const noexcept override {
    return arithmetic_ == Arithmetic::exact ? "cuda-exact" : "cuda";
  }
  int thread_count() const noexcept override { return threads_.size(); }
  Memory* memory() noexcept override { return &memory_; }

  void gemm(ConstMatrixView x, const WeightView& weight, MatrixView y) override;
  void gather_columns(ConstMatrixView x, std::span<const std::int32_t> permutation, MatrixView y) override;
  void embed(std::span<const std::int32_t> ids, const EmbeddingView& table, MatrixView out) override;
  void rms_norm(ConstMatrixView x, const float* weight, float epsilon, MatrixView y) override;
  void rope(MatrixView x, const RopeTable& table, std::span<const std::int32_t> positions) override;
  void silu_multiply(ConstMatrixView gate, ConstMatrixView up, MatrixView out) override;
  void add(ConstMatrixView x, MatrixView y) override;
  void append_kv(ConstMatrixView k, ConstMatrixView v, std::span<const KvSegment> segments) override;
  void attention(ConstMatrixView q, std::span<const KvSegment> segments, float scale, MatrixView out) override;
  void log_softmax(ConstMatrixView logits, MatrixView out) override;
  void argmax(ConstMatrixView logits, std::span<std::int32_t> out) override;

  bool all_finite(ConstMatrixView x) override;

  void column_exponents(ConstMatrixView x, std::span<std::int32_t> exponents) override;
  void add_hessian_leaf(ConstMatrixView leaf, const SumScale& scale, const TrianglePanels& layout,
                        std::int64_t* const* sums) override;
  void add_hessian_leaves(ConstMatrixView x, std::int64_t leaf_tokens, std::span<const std::int32_t> order,
                          const SumScale& scale, const TrianglePanels& layout, std::int64_t* const* sums) override;
  void build_factor_panel(const TrianglePanels& layout, std::int64_t panel, const std::int64_t* const* sums,
                          const SumScale& scale, std::span<const std::int32_t> order, double diagonal_add,
                          float* out) override;
  std::int64_t factor_panel(const TrianglePanels& layout, std::int64_t panel, float* data, float* pivots) override;
  void update_panels(const TrianglePanels& layout, std::int64_t source_panel, const float* source,
                     const float* pivots, float* const* targets) override;
  void update_panels_by_several(const TrianglePanels& layout, std::int64_t first_source, std::int64_t count,
                                const float* const* panels, const float* pivots, float* const* targets) override;

  void solve_gptq(ConstMatrixView w, const FactorView& factor, const GridSpec& grid, GroupRule groups,
                  const SolveOutput& out) override;
  void round_to_nearest(ConstMatrixView w, const GridSpec& grid, const SolveOutput& out) override;
  void quadratic_losses(ConstMatrixView w, ConstMatrixView dequantized, const TrianglePanels& layout,
                        const float* const* hessian, std::span<double> numerators,
                        std::span<double> denominators) override;
  void solved_losses(ConstMatrixView w, std::int64_t tile_rows, const SolveOutput& solved, double damping,
                     const TrianglePanels& layout, const float* const* hessian, std::span<double> losses,
                     std::span<double> energies) override;
  void convert_to_f32(const void* stored, ElementType type, MatrixView out) override;
  std::int64_t rows_solved_at_once(std::int64_t columns) const noexcept override {
    return (std::int64_t{1} << 28) / (columns > 0 ? columns : 1);
  }
  void on_host_threads(std::int64_t count, const std::function<void(std::int64_t)>& body) override;

 private:
  // Row-major fp32 weights for the tensor cores, kept as long as the same weights are asked for: a layer's linears run
  // over many batches of rows, those that share an input by turns.
  struct Expanded {
    const void* panels = nullptr;
    std::uint64_t version = 0;
    float* values = nullptr;
    std::size_t bytes = 0;
    std::uint64_t used = 0;  // when
  };
  static constexpr std::size_t kExpandedMax = 3;

  OperandCall begin() { return OperandCall(*device_, memory_, arena_); }
  WeightView weight_in(OperandCall& call, const WeightView& weight) const;
  ConstMatrixView expanded(const WeightView& host, const WeightView& device);
  void gemv_slices(ConstMatrixView x, const WeightView& weight, MatrixView y);
  void gather(ConstMatrixView x, const std::int32_t* permutation, MatrixView y);
  void add_leaves_in_chains(ConstMatrixView x, std::int64_t leaf_tokens, std::span<const std::int32_t> order,
                            const SumScale& scale, const TrianglePanels& layout, std::int64_t* const* sums);
  void update_from(const TrianglePanels& layout, std::int64_t first_source, std::span<const float* const> sources,
                   const float* pivots, float* const* targets);
  const Arithmetic arithmetic_;
  std::unique_ptr<Device> device_;
  DeviceMemory memory_;
  Arena arena_;
  std::array<Expanded, kExpandedMax> expanded_;
  std::uint64_t expansions_ = 0;
  ThreadPool threads_;
};

// A table of pointers to a triangle's panels as the device sees them, in its memory. Panels that are not here (nullptr)
// and those that `wanted` refuses stay nullptr. Panels of T = const are read, others read and written.
template <typename T, typename Wanted>
T* const* panel_table(OperandCall& call, const TrianglePanels& layout, T* const* panels, const Wanted& wanted) {
  std::vector<T*> table(static_cast<std::size_t>(layout.count()), nullptr);
  for (std::int64_t p = 0; p < layout.count(); ++p) {
    if (panels[p] == nullptr || !wanted(p)) continue;
    if constexpr (std::is_const_v<T>)
      table[static_cast<std::size_t>(p)] = call.in(panels[p], layout.elements(p));
    else
      table[static_cast<std::size_t>(p)] = call.out(panels[p], layout.elements(p), OperandCall::Before::keep);
  }
  return call.in(std::span<T* const>(table));
}
template <typename T>
T* const* panel_table(OperandCall& call, const TrianglePanels& layout, T* const* panels) {
  return panel_table(call, layout, panels, [](std::int64_t) { return true; });
}

constexpr std::int64_t blocks(std::int64_t count, std::int64_t size) { return (count + size - 1) / size; }

}  // namespace quench::kernels::cuda
