// Exact sums of XᵀX in int64, their lower triangle in cyclic column panels, and the factor of it.
//
// C columns are cut in panels of `width` columns. Panel p holds columns [p*width, min(C, (p+1)*width))
// and the rows p*width .. C-1 (the whole diagonal tile included), row-major with rows `width` apart
// also in a narrower last panel (whose missing columns are unused). Panels are handed around as an array of
// pointers, one per panel; a panel a rank does not hold is a null pointer.
//
// The width decides how the factor's roundings fall: a job uses one width (64) everywhere.
//
// Fixed point: with e_i the smallest integer >= -126 such that |x_i| < 2^e_i over all T tokens
// (column_exponents), a sum is an int64 in units of 2^-(62 - ceil(log2 T) - e_i - e_j). Each leaf adds one
// fp32 FMA chain over its tokens (each factor scaled exactly by 2^-e before) rounded once, so
// leaves may be added in any order on any rank, and the sum stays below 2^63.
//
// The factor: H = L D Lᵀ of H in *reversed* order. GPTQ's feedback (LDLQ) needs H = (S+I) D (S+I)ᵀ with S
// strictly upper in processing order k = 0..C-1. Let factor position a = C-1-k. Then, with
// order[a] = the original column processed at k = C-1-a: S[j][k] = L[C-1-j][C-1-k] and D_k = D[C-1-k].
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/memory.h"
#include "kernels/tensor_view.h"

namespace quench::kernels {

struct TrianglePanels {
  std::int64_t columns = 0;
  std::int64_t width = 64;  // 64 or 128

  constexpr std::int64_t count() const { return (columns + width - 1) / width; }
  constexpr std::int64_t first_column(std::int64_t panel) const { return panel * width; }
  constexpr std::int64_t column_count(std::int64_t panel) const {
    const std::int64_t left = columns - panel * width;
    return left < width ? left : width;
  }
  constexpr std::int64_t row_count(std::int64_t panel) const { return columns - panel * width; }
  // Elements of a panel: row_count * width.
  constexpr std::int64_t elements(std::int64_t panel) const { return row_count(panel) * width; }
  // Where panel p starts when all panels lie one after the other.
  constexpr std::int64_t offset(std::int64_t panel) const {
    return width * (panel * columns - width * panel * (panel - 1) / 2);
  }
  constexpr std::int64_t total_elements() const { return offset(count()); }
  // Element (row, col) with col in `panel` and row >= panel * width, within that panel.
  constexpr std::int64_t index(std::int64_t panel, std::int64_t row, std::int64_t col) const {
    return (row - panel * width) * width + (col - panel * width);
  }
};

// All panels in one allocation, zeroed, for a caller that holds the whole triangle.
template <typename T>
class TriangleBuffer {
 public:
  TriangleBuffer() = default;
  explicit TriangleBuffer(const TrianglePanels& layout, Memory* memory = nullptr)
      : layout_(layout), memory_(static_cast<std::size_t>(layout.total_elements()), memory) {
    for (std::int64_t p = 0; p < layout.count(); ++p) pointers_.push_back(memory_.data() + layout.offset(p));
    if (memory != nullptr)
      memory->zero_device(memory_.data(), memory_.size() * sizeof(T));
    else
      for (std::size_t i = 0; i < memory_.size(); ++i) memory_[i] = T{0};
  }
  const TrianglePanels& layout() const { return layout_; }
  T* const* panels() { return pointers_.data(); }
  const T* const* panels() const { return const_cast<const T* const*>(pointers_.data()); }
  T* data() { return memory_.data(); }
  const T* data() const { return memory_.data(); }
  std::size_t size() const { return memory_.size(); }

 private:
  TrianglePanels layout_;
  AlignedBuffer<T> memory_;
  std::vector<T*> pointers_;
};

// What turns int64 sums back into numbers.
struct SumScale {
  std::int64_t tokens = 0;                  // T of all leaves together
  std::span<const std::int32_t> exponents;  // e_i, C of them, the maximum over all ranks
};

// 62 - ceil(log2(tokens)); tokens >= 1.
int sum_shift(std::int64_t tokens) noexcept;
// H_ij = sum * 2^-(shift - e_i - e_j) / T in double: exact power of two, one division.
double sum_to_double(std::int64_t sum, std::int32_t exponent_i, std::int32_t exponent_j,
                     std::int64_t tokens) noexcept;

// The diagonal of H in original column order, from whole-triangle sums. `out` has C values.
void hessian_diagonal(const TrianglePanels& layout, const std::int64_t* const* sums, const SumScale& scale,
                      std::span<double> out) noexcept;
// GPTQ's damping: fraction * mean(diagonal), summed in column order.
double damping(std::span<const double> diagonal, double fraction) noexcept;
// Processing order by falling diagonal (act-order), ties by column: order k -> column.
std::vector<std::int32_t> activation_order(std::span<const double> diagonal);
// order[a] = processing[C-1-a]: what build_factor_panel wants. An empty `processing` means 0..C-1.
std::vector<std::int32_t> factor_order(std::span<const std::int32_t> processing, std::int64_t columns);

}  // namespace quench::kernels
