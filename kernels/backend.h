// The arithmetic of Quench on one device. Everything a model forward, a Hessian, a factorization or a
// solver needs goes through this interface; callers know neither threads nor instruction sets.
//
// Guarantees of every CPU backend: the same bits on scalar, AVX2 and AVX-512, for any number of
// threads, and for a row whatever the other rows of its batch are. "cuda-exact" has those bits too; "cuda" has them
// but for products and Hessian leaves, which agree within tolerances.h. A wrong shape is a caller's bug, prints
// its operands and aborts. CPU backends throw nothing, a GPU's throw DeviceError. One call at a time per backend.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "kernels/codebook.h"
#include "kernels/device_error.h"
#include "kernels/gptq.h"
#include "kernels/hessian.h"
#include "kernels/kv_cache.h"
#include "kernels/memory.h"
#include "kernels/rope.h"
#include "kernels/tensor_view.h"
#include "kernels/training.h"
#include "kernels/weight_panels.h"

namespace quench::kernels {

// A row-major table of embeddings as stored in the model file.
struct EmbeddingView {
  const void* data = nullptr;
  ElementType type = ElementType::f32;
  std::int64_t rows = 0;  // vocabulary
  std::int64_t cols = 0;  // hidden size
};

// What gemm, add_hessian_leaf and solve_gptq multiply; sums are fp32 in both.
enum class Products : std::uint8_t {
  fp32,
  bf16,  // x, dense weights, a leaf's scaled values and the errors that GPTQ feeds back rounded to bf16, codes as they are
         // (cpu/lanes/brain_dot.inl, gptq.h)
};

class Backend {
 public:
  virtual ~Backend() = default;
  // "scalar", "avx2", "avx512", "cuda", "cuda-exact".
  virtual std::string_view name() const noexcept = 0;
  virtual int thread_count() const noexcept = 0;
  // Where buffers should come from so that they stay on the device between calls (memory.h); nullptr: the host's own.
  virtual Memory* memory() noexcept { return nullptr; }
  // From now on; false, and nothing changed, where the backend has no such products: a GPU has no bf16. The bits of each kind
  // are the same on every instruction set, with AVX512-BF16 or without, but for speed.
  [[nodiscard]] virtual bool set_products(Products products) noexcept { return products == Products::fp32; }
  // What multiplies bf16 here, in words: "AVX512-BF16", or fused multiply-adds, and why; empty: nothing does.
  virtual std::string_view bf16_products() const noexcept { return {}; }

  // ---- model forward --------------------------------------------------------------------------
  // y[M, N] = x[M, K] Wᵀ. Each output is one FMA chain over k = 0..K-1 starting at 0. x and y do not overlap.
  virtual void gemm(ConstMatrixView x, const WeightView& weight, MatrixView y) = 0;
  // y[m, c] = x[m, permutation[c]]; for act-order weights.
  virtual void gather_columns(ConstMatrixView x, std::span<const std::int32_t> permutation,
                              MatrixView y) = 0;
  // out[i] = table[ids[i]] as fp32. Every id is in [0, rows).
  virtual void embed(std::span<const std::int32_t> ids, const EmbeddingView& table,
                     MatrixView out) = 0;
  // y = x / sqrt(mean(x^2) + epsilon) * weight, row by row. y may be x.
  virtual void rms_norm(ConstMatrixView x, const float* weight, float epsilon, MatrixView y) = 0;
  // y = (x - mean) / sqrt(mean((x - mean)^2) + epsilon) * weight + bias, row by row. y may be x.
  virtual void layer_norm(ConstMatrixView x, const float* weight, const float* bias, float epsilon, MatrixView y);
  // Rotates x [T, heads * head_dim] in place; positions[t] < table.positions.
  virtual void rope(MatrixView x, const RopeTable& table,
                    std::span<const std::int32_t> positions) = 0;
  // out = gate / (1 + exp(-gate)) * up. out may be gate or up.
  virtual void silu_multiply(ConstMatrixView gate, ConstMatrixView up, MatrixView out) = 0;
  // out = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))). out may be x.
  virtual void gelu(ConstMatrixView x, MatrixView out);
  // y[m, c] += bias[c].
  virtual void add_bias(const float* bias, MatrixView y);
  // y = x Wᵀ in whole numbers (cpu/lanes/integer_dot.inl), W of eight bits with one scale a row and at most 2^17 columns, x
  // rounded to 127 steps on both sides of 0: steps of `scale`, beyond which values are cut, or, with 0, each row's own, of its
  // largest magnitude over 127.
  virtual void integer_gemm(ConstMatrixView x, float scale, const WeightView& weight, MatrixView y);
  // y += x.
  virtual void add(ConstMatrixView x, MatrixView y) = 0;
  // Puts rows of k and v [T, kv_heads * head_dim] behind each segment's cache and advances its length.
  virtual void append_kv(ConstMatrixView k, ConstMatrixView v,
                         std::span<const KvSegment> segments) = 0;
  // Causal attention of q [T, heads * head_dim] (heads a multiple of kv_heads) over the caches.
  // out has q's shape; rows of no segment are left alone.
  virtual void attention(ConstMatrixView q, std::span<const KvSegment> segments, float scale,
                         MatrixView out) = 0;
  // The same where a token sees the last `window` keys up to its own and no others.
  virtual void window_attention(ConstMatrixView q, std::span<const KvSegment> segments, float scale, std::int64_t window,
                                MatrixView out);
  // Log-probabilities of each row. out may be logits.
  virtual void log_softmax(ConstMatrixView logits, MatrixView out) = 0;
  // Index of the largest value of each row; the lowest index wins a tie.
  virtual void argmax(ConstMatrixView logits, std::span<std::int32_t> out) = 0;

  // Whether no value is NaN or infinite.
  virtual bool all_finite(ConstMatrixView x);

  // ---- Hessian (hessian.h) --------------------------------------------------------------------
  // exponents[c] = max(exponents[c], smallest e >= -126 with |x[t, c]| < 2^e for all t). Start at -126.
  virtual void column_exponents(ConstMatrixView x, std::span<std::int32_t> exponents) = 0;
  // Adds one leaf X [T_leaf, C] to the sums of every panel whose pointer is not null.
  virtual void add_hessian_leaf(ConstMatrixView leaf, const SumScale& scale, const TrianglePanels& layout,
                                std::int64_t* const* sums) = 0;
  // The leaves of `leaf_tokens` rows that x [T, C] is cut in (the last may have fewer), column c of the sums being
  // column order[c] of x (empty: as they are).
  virtual void add_hessian_leaves(ConstMatrixView x, std::int64_t leaf_tokens, std::span<const std::int32_t> order,
                                  const SumScale& scale, const TrianglePanels& layout, std::int64_t* const* sums);
  // fp32 panel `panel` of H (order applied to rows and columns, `diagonal_add` added to the diagonal).
  // order[a] = original column; empty: the columns are already in factor order, and then only sums[panel]
  // is read, else the panels it points into.
  virtual void build_factor_panel(const TrianglePanels& layout, std::int64_t panel,
                                  const std::int64_t* const* sums, const SumScale& scale,
                                  std::span<const std::int32_t> order, double diagonal_add,
                                  float* out) = 0;
  // Factors one panel in place after all panels before it were applied: L below the diagonal (unit
  // diagonal not stored), pivots[first_column + i] = D. Returns -1, or the first column whose pivot is not >
  // 0.
  virtual std::int64_t factor_panel(const TrianglePanels& layout, std::int64_t panel, float* data,
                                    float* pivots) = 0;
  // target -= L D Lᵀ of the factored source panel, for every target > source_panel whose pointer in `targets`
  // (one per panel) is not null; each element is one FMA chain in column order. Apply sources in rising
  // order; a caller may hand out the next panel first and the others later.
  virtual void update_panels(const TrianglePanels& layout, std::int64_t source_panel, const float* source,
                             const float* pivots, float* const* targets) = 0;
  // The same for `count` factored panels side by side from first_source on, in rising order, to the targets behind the
  // last of them. A target then passes through the caches once and not `count` times.
  virtual void update_panels_by_several(const TrianglePanels& layout, std::int64_t first_source, std::int64_t count,
                                        const float* const* panels, const float* pivots,
                                        float* const* targets);

  // ---- solvers (gptq.h) -----------------------------------------------------------------------
  // w [rows, C] in processing order.
  virtual void solve_gptq(ConstMatrixView w, const FactorView& factor, const GridSpec& grid, GroupRule groups,
                          const SolveOutput& out) = 0;
  // The same grids without feedback; out.losses must be null.
  virtual void round_to_nearest(ConstMatrixView w, const GridSpec& grid, const SolveOutput& out) = 0;
  // numerators[r] = Δ H Δᵀ and denominators[r] = w H wᵀ of each row, Δ = w - dequantized, H given as fp32
  // panels (lower triangle, in the order of w's columns): fp32 chains of at most 256 products, added in double, in a
  // fixed order. Some 1e-6 of what is summed.
  virtual void quadratic_losses(ConstMatrixView w, ConstMatrixView dequantized, const TrianglePanels& layout,
                                const float* const* hessian, std::span<double> numerators,
                                std::span<double> denominators) = 0;
  // The same after solve_gptq, for its w and results (which must have losses) in processing order: ΔHΔᵀ by row from the
  // solver's own sum, less what `damping`, the number added to the diagonal before factoring, has in it, and w H wᵀ
  // within 1e-4. A fraction of the work of quadratic_losses, which this falls back to where a device has no more. Rows are
  // cut in tiles of `tile_rows`; a row's result may depend on its place in its tile, but on no other tile.
  virtual void solved_losses(ConstMatrixView w, std::int64_t tile_rows, const SolveOutput& solved, double damping,
                             const TrianglePanels& layout, const float* const* hessian, std::span<double> losses,
                             std::span<double> energies);

  // out = rows as stored in a model file, one behind the other, exactly. `out` has no gaps between its rows.
  virtual void convert_to_f32(const void* stored, ElementType type, MatrixView out);

  // How many rows of `columns` weights are worth solving in one call: some 40 bytes of memory a weight.
  virtual std::int64_t rows_solved_at_once(std::int64_t columns) const noexcept;

  // ---- the host's side of the work --------------------------------------------------------------
  // body(0) … body(count - 1) on the backend's host threads, in any order. The first exception is thrown when all ended.
  virtual void on_host_threads(std::int64_t count, const std::function<void(std::int64_t)>& body) = 0;

  // ---- additive codebooks (codebook.h) and backward passes (training.h) ---------------------------
  // On the host's memory and cores, whatever the backend: a GPU's hands out the CPU's. host() is the backend whose
  // products have these operations' bits.
  virtual Codebooks& codebooks();
  virtual Training& training();
  virtual Backend& host();

 private:
  std::unique_ptr<Backend> host_;
};

struct CpuBackendOptions {
  int threads = 1;
  std::string isa;  // "" (the best that runs here), "scalar", "avx2", "avx512"
};
// Throws std::runtime_error naming the instruction set when a forced one is unknown or cannot run here.
std::unique_ptr<Backend> make_cpu_backend(const CpuBackendOptions& options);
// The names that run on this machine, best first; always ends with "scalar".
std::span<const std::string_view> runnable_isas();

struct CudaBackendOptions {
  int device = 0;      // among the GPUs that CUDA_VISIBLE_DEVICES leaves visible
  bool exact = false;  // the CPU's bits everywhere, on the fp32 cores: "cuda-exact"
  int host_threads = 1;
};
// Throws DeviceError: this build has no CUDA, no GPU or driver is there, the GPU is of another kind than the build is
// for. It never falls back to the CPU, whose bytes may differ.
std::unique_ptr<Backend> make_cuda_backend(const CudaBackendOptions& options);
// How many GPUs CUDA sees; 0 also in a build without CUDA.
int cuda_device_count();

// Panels that a factorization takes together to the targets far behind them.
inline constexpr std::int64_t kPanelsTogether = 4;

// Whole factorization on one rank: panels hold H (build_factor_panel) and end as L. Returns as factor_panel.
std::int64_t factor_triangle(Backend& backend, const TrianglePanels& layout, float* const* panels,
                             float* pivots);

}  // namespace quench::kernels
