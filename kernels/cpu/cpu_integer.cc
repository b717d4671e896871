// Products of rounded activations with weights of eight bits, on threads.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cpu/cpu_backend.h"

namespace quench::kernels {
namespace {

// Rows of x in flight, a multiple of 12 and of 6: their bytes stay in the second-level cache.
constexpr std::int64_t kBlockRows = 480;
// Less work than this is not worth waking a thread for.
constexpr std::int64_t kGrainProducts = 1 << 18;
constexpr std::int64_t kGrainElements = 1 << 14;
// So many products of a code less its zero with a step, at most 128 * 127 each, fit an int32.
constexpr std::int64_t kColumnsMax = 1 << 17;

}  // namespace

void CpuBackend::integer_gemm(ConstMatrixView x, float scale, const WeightView& weight, MatrixView y) noexcept {
  QUENCH_KERNEL_CHECK_EQ(x.cols, weight.cols);
  QUENCH_KERNEL_CHECK_EQ(y.cols, weight.rows);
  QUENCH_KERNEL_CHECK_EQ(x.rows, y.rows);
  QUENCH_KERNEL_CHECK_EQ(static_cast<int>(weight.format), static_cast<int>(WeightFormat::q8));
  QUENCH_KERNEL_CHECK_EQ(group_count(weight.cols, weight.group_size), 1);
  QUENCH_KERNEL_CHECK_LE(weight.cols, kColumnsMax);
  const std::int64_t stride = (x.cols + 3) / 4 * 4;
  const std::int64_t panels = panel_count(weight.rows);
  for (std::int64_t first = 0; first < x.rows; first += kBlockRows) {
    IntegerBlock block;
    block.rows = std::min(kBlockRows, x.rows - first);
    std::int8_t* bytes = reinterpret_cast<std::int8_t*>(shared_.floats(block.rows * stride / 4));
    row_scales_.resize(static_cast<std::size_t>(block.rows));
    row_sums_.resize(static_cast<std::size_t>(block.rows));
    pool_.for_range(block.rows, kGrainElements / std::max<std::int64_t>(x.cols, 1) + 1,
                    [&](int, std::int64_t begin, std::int64_t end) {
                      for (std::int64_t row = begin; row < end; ++row)
                        table_.quantize_row(x.row(first + row), x.cols, scale, bytes + row * stride,
                                            row_scales_.data() + row, row_sums_.data() + row);
                    });
    block.x = bytes;
    // Rows side by side, as the inner kernel takes them: rows a power of two apart would share a few sets of the first-level cache.
    if (block.rows > 1) {
      const std::int64_t words = stride / 4;
      std::int8_t* packed = reinterpret_cast<std::int8_t*>(shared_second_.floats(block.rows * words));
      std::vector<std::int64_t> starts;  // of micro-panels, and the end
      for (std::int64_t row = 0; row < block.rows; row += micro_panel_rows(block.rows - row, table_.gemm_rows)) starts.push_back(row);
      starts.push_back(block.rows);
      const auto panels_of_x = static_cast<std::int64_t>(starts.size()) - 1;
      pool_.for_range(panels_of_x, kGrainElements / (table_.gemm_rows * words) + 1, [&](int, std::int64_t begin, std::int64_t end) {
        for (std::int64_t p = begin; p < end; ++p) {
          const std::int64_t top = starts[static_cast<std::size_t>(p)], last = starts[static_cast<std::size_t>(p) + 1];
          std::int8_t* to = packed + top * stride;
          for (std::int64_t word = 0; word < words; ++word)
            for (std::int64_t row = top; row < last; ++row, to += 4) std::memcpy(to, bytes + row * stride + word * 4, 4);
        }
      });
      block.x = packed;
    }
    block.x_stride = stride;
    block.scales = row_scales_.data();
    block.sums = row_sums_.data();
    block.weight = weight;
    block.y = y.row(first);
    block.y_stride = y.stride;
    const std::int64_t units = (panels + table_.gemm_panels - 1) / table_.gemm_panels;
    const std::int64_t grain =
        kGrainProducts / (16 * table_.gemm_panels * block.rows * std::max<std::int64_t>(x.cols, 1)) + 1;
    pool_.for_range(units, grain, [&](int, std::int64_t begin, std::int64_t end) {
      IntegerBlock part = block;
      part.panel_begin = begin * table_.gemm_panels;
      part.panel_end = std::min(panels, end * table_.gemm_panels);
      table_.integer_block(part);
    });
  }
}

}  // namespace quench::kernels
