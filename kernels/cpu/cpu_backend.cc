#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <vector>

#include "kernels/cpu/cpu_features.h"

namespace quench::kernels {

CpuBackend::CpuBackend(const KernelTable& table, int threads)
    : table_(table),
      pool_(threads),
      own_(static_cast<std::size_t>(pool_.size())),
      codebooks_(*this, table_, pool_),
      training_(table_, pool_) {}

std::span<const std::string_view> runnable_isas() {
  struct Names {
    std::array<std::string_view, 8> all;
    std::size_t count = 0;
  };
  static const Names names = [] {
    Names found;
    for (const IsaEntry& entry : isa_priority_list()) {
      if (entry.runs_here()) found.all[found.count++] = entry.name;
    }
    return found;
  }();
  return {names.all.data(), names.count};
}

std::unique_ptr<Backend> make_cpu_backend(const CpuBackendOptions& options) {
  if (options.threads < 1) {
    throw std::runtime_error("threads is " + std::to_string(options.threads) + ", expected 1 or more");
  }
  std::string known;
  for (const IsaEntry& entry : isa_priority_list()) {
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
    if (options.isa.empty() ? !entry.runs_here() : entry.name != options.isa) continue;
    if (!entry.runs_here()) {
      throw std::runtime_error(
          "instruction set '" + options.isa +
          "' was asked for but this CPU or its operating system cannot run it; the best that "
          "runs here is '" +
          std::string(runnable_isas().front()) + "'");
    }
    return std::make_unique<CpuBackend>(make_kernel_table(entry.name), options.threads);
  }
  throw std::runtime_error("unknown instruction set '" + options.isa + "', expected one of: " + known);
}

void CpuBackend::on_host_threads(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  run_in_turn(pool_, count, body);
}

bool Backend::all_finite(ConstMatrixView x) {
  for (std::int64_t row = 0; row < x.rows; ++row) {
    const float* values = x.row(row);
    // x - x is 0 for finite x and NaN otherwise, and the sum keeps a NaN.
    float residue = 0;
    for (std::int64_t column = 0; column < x.cols; ++column) residue += values[column] - values[column];
    if (residue != 0 || residue != residue) return false;
  }
  return true;
}

void Backend::add_hessian_leaves(ConstMatrixView x, std::int64_t leaf_tokens, std::span<const std::int32_t> order,
                                 const SumScale& scale, const TrianglePanels& layout, std::int64_t* const* sums) {
  AlignedBuffer<float> gathered(order.empty() ? 0 : static_cast<std::size_t>(std::min(leaf_tokens, x.rows) * x.cols), memory());
  for (std::int64_t row = 0; row < x.rows; row += leaf_tokens) {
    ConstMatrixView leaf = x.row_range(row, std::min(leaf_tokens, x.rows - row));
    if (!order.empty()) {
      const MatrixView into(gathered.data(), leaf.rows, x.cols);
      gather_columns(leaf, order, into);
      leaf = into;
    }
    add_hessian_leaf(leaf, scale, layout, sums);
  }
}

void Backend::convert_to_f32(const void* stored, ElementType type, MatrixView out) {
  QUENCH_KERNEL_CHECK_EQ(out.stride, out.cols);
  constexpr std::int64_t part = 1 << 20;
  const std::int64_t count = out.rows * out.cols;
  const auto* const from = static_cast<const std::uint8_t*>(stored);
  on_host_threads((count + part - 1) / part, [&](std::int64_t i) {
    kernels::convert_to_f32(from + static_cast<std::size_t>(i * part) * element_bytes(type), type,
                            static_cast<std::size_t>(std::min(part, count - i * part)), out.data + i * part);
  });
  to_device(memory(), out);
}

std::int64_t Backend::rows_solved_at_once(std::int64_t columns) const noexcept {
  constexpr std::int64_t rows_max = 1024, values_max = 16 << 20;
  return std::min(rows_max, values_max / std::max<std::int64_t>(columns, 1));
}

// What a device has no kernel for runs on the host.
void Backend::layer_norm(ConstMatrixView x, const float* weight, const float* bias, float epsilon, MatrixView y) {
  to_host(memory(), x);
  host().layer_norm(x, weight, bias, epsilon, y);
  to_device(memory(), y);
}

void Backend::gelu(ConstMatrixView x, MatrixView out) {
  to_host(memory(), x);
  host().gelu(x, out);
  to_device(memory(), out);
}

void Backend::add_bias(const float* bias, MatrixView y) {
  to_host(memory(), y);
  host().add_bias(bias, y);
  to_device(memory(), y);
}

void Backend::integer_gemm(ConstMatrixView x, float scale, const WeightView& weight, MatrixView y) {
  to_host(memory(), x);
  host().integer_gemm(x, scale, weight, y);
  to_device(memory(), y);
}

void Backend::window_attention(ConstMatrixView q, std::span<const KvSegment> segments, float scale, std::int64_t window,
                               MatrixView out) {
  bool sees_all = true;
  for (const KvSegment& segment : segments) sees_all &= segment.cache->length <= window;
  if (sees_all) return attention(q, segments, scale, out);
  to_host(memory(), q);
  to_host(memory(), out);  // rows of no segment are left alone
  for (const KvSegment& segment : segments) {
    const KvCacheView& cache = *segment.cache;
    const auto keys = static_cast<std::size_t>(cache.kv_heads * cache.capacity);
    to_host(memory(), std::span<const float>(cache.keys, keys * static_cast<std::size_t>(cache.head_dim)));
    to_host(memory(), std::span<const float>(cache.values, keys * static_cast<std::size_t>(cache.padded_dim())));
  }
  host().window_attention(q, segments, scale, window, out);
  to_device(memory(), out);
}

void Backend::solved_losses(ConstMatrixView w, std::int64_t /*tile_rows*/, const SolveOutput& solved, double /*damping*/,
                            const TrianglePanels& layout, const float* const* hessian, std::span<double> losses,
                            std::span<double> energies) {
  const std::vector<std::int32_t> reverse = factor_order({}, w.cols);
  AlignedBuffer<float> reversed(static_cast<std::size_t>(2 * w.rows * w.cols), memory());
  const MatrixView weights(reversed.data(), w.rows, w.cols);
  const MatrixView dequantized(reversed.data() + w.rows * w.cols, w.rows, w.cols);
  gather_columns(w, reverse, weights);
  gather_columns(solved.dequantized, reverse, dequantized);
  quadratic_losses(weights, dequantized, layout, hessian, losses, energies);
}

void Backend::update_panels_by_several(const TrianglePanels& layout, std::int64_t first_source, std::int64_t count,
                                       const float* const* panels, const float* pivots,
                                       float* const* targets) {
  std::vector<float*> behind(targets, targets + layout.count());
  std::fill_n(behind.begin(), first_source + count, nullptr);
  for (std::int64_t source = first_source; source < first_source + count; ++source)
    update_panels(layout, source, panels[source], pivots, behind.data());
}

std::int64_t factor_triangle(Backend& backend, const TrianglePanels& layout, float* const* panels,
                             float* pivots) {
  std::vector<float*> near(static_cast<std::size_t>(layout.count()));
  for (std::int64_t first = 0; first < layout.count(); first += kPanelsTogether) {
    const std::int64_t count = std::min(kPanelsTogether, layout.count() - first);
    std::copy_n(panels + first, count, near.begin() + first);
    for (std::int64_t p = first; p < first + count; ++p) {
      const std::int64_t failed = backend.factor_panel(layout, p, panels[p], pivots);
      if (failed >= 0) return failed;
      backend.update_panels(layout, p, panels[p], pivots, near.data());
    }
    backend.update_panels_by_several(layout, first, count, panels, pivots, panels);
  }
  return -1;
}

}  // namespace quench::kernels
