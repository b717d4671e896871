#include "kernels/cpu/cpu_codebook.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace quench::kernels {
namespace {

// Panels expanded at a time for a product of several rows: K of them stay in the second-level cache.
constexpr std::int64_t kPanelsAtOnce = 2;
constexpr std::int64_t kBlockColumns = 256;
// Rows of x in flight, as in the dense product.
constexpr std::int64_t kBlockRows = 480;

float* grown(AlignedBuffer<float>& buffer, std::int64_t count) {
  if (buffer.size() < static_cast<std::size_t>(count)) buffer = AlignedBuffer<float>(static_cast<std::size_t>(count));
  return buffer.data();
}

EntryPanel panel_of(const AdditiveView& shape, std::int64_t panel, std::int64_t group_begin, std::int64_t group_end,
                    float* out) {
  EntryPanel entry;
  entry.codes = shape.codes + static_cast<std::size_t>(panel) * shape.panel_code_bytes();
  entry.code_bits = shape.code_bits;
  entry.codebooks = shape.codebooks;
  entry.group = shape.group;
  entry.entry_count = shape.entry_count();
  entry.entries = shape.entries;
  entry.scales = shape.scales == nullptr ? nullptr : shape.scales + panel * 16;
  entry.group_begin = group_begin;
  entry.group_end = group_end;
  entry.out = out;
  return entry;
}

}  // namespace

CodebookTable make_codebook_table(std::string_view isa) {
  CodebookTable table{};
  if (isa == "avx512")
    avx512::fill_codebook(table);
  else if (isa == "avx2")
    avx2::fill_codebook(table);
  else
    scalar::fill_codebook(table);
  return table;
}

CpuCodebooks::CpuCodebooks(Backend& backend, const KernelTable& table, ThreadPool& pool)
    : backend_(backend),
      table_(table),
      pool_(pool),
      codebook_(make_codebook_table(table.name)),
      own_(static_cast<std::size_t>(pool.size())),
      sums_(static_cast<std::size_t>(pool.size())) {}

void CpuCodebooks::gemm(ConstMatrixView x, const AdditiveView& weight, MatrixView y) {
  QUENCH_KERNEL_CHECK_EQ(x.cols, weight.cols);
  QUENCH_KERNEL_CHECK_EQ(y.cols, weight.rows);
  QUENCH_KERNEL_CHECK_EQ(x.rows, y.rows);
  if (x.rows == 0 || weight.rows == 0) return;
  const std::int64_t panels = panel_count(weight.rows), groups = weight.groups();
  const std::int64_t blocks = (x.cols + kBlockColumns - 1) / kBlockColumns;
  for (std::int64_t row = 0; row < x.rows; row += kBlockRows) {
    const std::int64_t rows = std::min(kBlockRows, x.rows - row);
    float* packed = nullptr;
    if (x.rows > 1) {
      packed = grown(products_, rows * x.cols);
      pool_.for_range(blocks, 1, [&](int, std::int64_t begin, std::int64_t end) {
        for (std::int64_t b = begin; b < end; ++b) {
          const std::int64_t k = b * kBlockColumns;
          table_.pack_rows(x.row(row) + k, x.stride, rows, std::min(kBlockColumns, x.cols - k), packed + rows * k);
        }
      });
    }
    pool_.for_range((panels + kPanelsAtOnce - 1) / kPanelsAtOnce, 1, [&](int thread, std::int64_t begin, std::int64_t end) {
      float* expanded = grown(own_[static_cast<std::size_t>(thread)], kPanelsAtOnce * 16 * x.cols);
      for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t first = unit * kPanelsAtOnce, count = std::min(kPanelsAtOnce, panels - first);
        for (std::int64_t p = 0; p < count; ++p)
          codebook_.expand_entries(panel_of(weight, first + p, 0, groups, expanded + p * 16 * x.cols));
        // These panels as a matrix of their own.
        WeightView view;
        view.rows = std::min(count * 16, weight.rows - first * 16);
        view.cols = x.cols;
        view.panels = expanded;
        float* out = y.row(row) + first * 16;
        if (x.rows == 1) {
          table_.gemv(view, x.data, 0, count, out);
          continue;
        }
        GemmBlock block;
        block.weight = view;
        block.rows = rows;
        block.panel_end = count;
        block.y = out;
        block.y_stride = y.stride;
        for (std::int64_t k = 0; k < x.cols; k += kBlockColumns) {
          block.k_begin = k;
          block.k_count = std::min(kBlockColumns, x.cols - k);
          block.packed = packed + rows * k;
          block.carry = k > 0;
          table_.gemm_block(block);
        }
      }
    });
  }
}

void CpuCodebooks::dequantize(const AdditiveView& weight, MatrixView out) {
  QUENCH_KERNEL_CHECK_EQ(out.rows, weight.rows);
  QUENCH_KERNEL_CHECK_EQ(out.cols, weight.cols);
  pool_.for_range(panel_count(weight.rows), 1, [&](int thread, std::int64_t begin, std::int64_t end) {
    float* expanded = grown(own_[static_cast<std::size_t>(thread)], 16 * weight.cols);
    for (std::int64_t p = begin; p < end; ++p) {
      codebook_.expand_entries(panel_of(weight, p, 0, weight.groups(), expanded));
      const std::int64_t rows = std::min<std::int64_t>(16, weight.rows - p * 16);
      for (std::int64_t lane = 0; lane < rows; ++lane) {
        float* to = out.row(p * 16 + lane);
        for (std::int64_t k = 0; k < weight.cols; ++k) to[k] = expanded[k * 16 + lane];
      }
    }
  });
}

void CpuCodebooks::residual(const AdditiveView& shape, const float* weights, float* panels) {
  pool_.for_range(panel_count(shape.rows), 1, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) {
      EntryPanel entry = panel_of(shape, p, 0, shape.groups(), panels + p * 16 * shape.cols);
      if (weights != nullptr) entry.weights = weights + p * 16 * shape.cols;
      codebook_.expand_entries(entry);
    }
  });
}

void CpuCodebooks::products(ConstMatrixView h, const float* panels, MatrixView y) {
  QUENCH_KERNEL_CHECK_EQ(h.rows, y.rows);
  WeightView view;
  view.rows = y.cols;
  view.cols = h.cols;
  view.panels = panels;
  backend_.gemm(h, view, y);
}

void CpuCodebooks::row_dots(const float* panels, ConstMatrixView y, std::span<double> dots) {
  pool_.for_range(y.cols / 16, 1, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) {
      double sum[16] = {};
      const float* panel = panels + p * 16 * y.rows;
      for (std::int64_t k = 0; k < y.rows; ++k) {
        const float* column = y.row(k) + p * 16;
        for (int lane = 0; lane < 16; ++lane)
          sum[lane] += static_cast<double>(panel[k * 16 + lane]) * static_cast<double>(column[lane]);
      }
      std::copy_n(sum, 16, dots.begin() + p * 16);
    }
  });
}

float CpuCodebooks::largest(ConstMatrixView y, const float* factors) {
  std::vector<float> each(static_cast<std::size_t>(pool_.size()), 0.0f);
  pool_.for_range(y.rows, 16, [&](int thread, std::int64_t begin, std::int64_t end) {
    float most = 0;
    for (std::int64_t k = begin; k < end; ++k) {
      const float* row = y.row(k);
      for (std::int64_t lane = 0; lane < y.cols; ++lane) most = std::max(most, std::fabs(factors[lane] * row[lane]));
    }
    each[static_cast<std::size_t>(thread)] = most;
  });
  return *std::max_element(each.begin(), each.end());
}

template <typename Value>
void CpuCodebooks::add_values(const AdditiveView& shape, const EntrySums& out, const Value& value) {
  QUENCH_KERNEL_CHECK_EQ(shape.code_bits, 16);
  const std::int64_t panels = panel_count(shape.rows), groups = shape.groups(), values = shape.values();
  const int group = shape.group;
  const std::int64_t shares = std::min<std::int64_t>(pool_.size(), panels);
  pool_.for_range(panels, 1, [&](int thread, std::int64_t begin, std::int64_t end) {
    std::int64_t* sums = out.sums;
    if (shares > 1) {
      sums_[static_cast<std::size_t>(thread)].assign(static_cast<std::size_t>(values), 0);
      sums = sums_[static_cast<std::size_t>(thread)].data();
    }
    std::int64_t rounded[16 * 16];
    for (std::int64_t p = begin; p < end; ++p) {
      const auto* codes =
          reinterpret_cast<const std::uint16_t*>(shape.codes + static_cast<std::size_t>(p) * shape.panel_code_bytes());
      const int lanes = static_cast<int>(std::min<std::int64_t>(16, shape.rows - p * 16));
      for (std::int64_t j = 0; j < groups; ++j) {
        for (int d = 0; d < group; ++d)
          for (int lane = 0; lane < 16; ++lane)
            rounded[lane * group + d] = std::llrint(static_cast<double>(value(j * group + d, p * 16 + lane)) * out.unit);
        for (int m = 0; m < shape.codebooks; ++m) {
          std::int64_t* entries = sums + m * shape.entry_count() * group;
          for (int lane = 0; lane < lanes; ++lane) {
            std::int64_t* entry = entries + static_cast<std::int64_t>(codes[lane]) * group;
            for (int d = 0; d < group; ++d) entry[d] += rounded[lane * group + d];
          }
          codes += 16;
        }
      }
    }
  });
  if (shares <= 1) return;
  pool_.for_range(values, 4096, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t share = 0; share < shares; ++share) {
      const std::int64_t* from = sums_[static_cast<std::size_t>(share)].data();
      for (std::int64_t i = begin; i < end; ++i) out.sums[i] += from[i];
    }
  });
}

void CpuCodebooks::add_to_entries(const AdditiveView& shape, ConstMatrixView y, const float* factors,
                                  const EntrySums& out) {
  add_values(shape, out, [&](std::int64_t k, std::int64_t lane) { return factors[lane] * y.row(k)[lane]; });
}

void CpuCodebooks::add_diagonal(const AdditiveView& shape, const float* diagonal, const float* factors,
                                const EntrySums& out) {
  add_values(shape, out, [&](std::int64_t k, std::int64_t lane) { return factors[lane] * diagonal[k]; });
}

void CpuCodebooks::norms_of(const float* entries, std::int64_t sets, std::int64_t count, int group, const float* metric,
                            std::int64_t groups, float* norms) {
  // Entries as lanes, `count` filled up to whole sixteens in `columns` but not in `norms`.
  const std::int64_t stride = (count + 15) / 16 * 16;
  float* columns = grown(columns_, sets * group * stride);
  std::fill_n(columns, sets * group * stride, 0.0f);
  for (std::int64_t m = 0; m < sets; ++m)
    for (std::int64_t e = 0; e < count; ++e)
      for (int d = 0; d < group; ++d) columns[(m * group + d) * stride + e] = entries[(m * count + e) * group + d];
  pool_.for_range(groups, 1, [&](int thread, std::int64_t begin, std::int64_t end) {
    float* whole = grown(own_[static_cast<std::size_t>(thread)], stride);
    for (std::int64_t j = begin; j < end; ++j)
      for (std::int64_t m = 0; m < sets; ++m) {
        codebook_.entry_norms(columns + m * group * stride, count, group, metric + j * group * group, whole);
        std::copy_n(whole, count, norms + (j * sets + m) * count);
      }
  });
}

void CpuCodebooks::search(const CodebookSearch& pass) {
  const AdditiveView& shape = pass.shape;
  const std::int64_t columns = shape.cols, panels = panel_count(shape.rows), lanes = panels * 16;
  const std::int64_t group = shape.group, block_groups = kSearchColumns / group;
  if (pass.feedback) std::memset(pass.residual, 0, static_cast<std::size_t>(lanes * columns) * sizeof(float));
  float* norms = grown(norms_, block_groups * shape.codebooks * shape.entry_count());
  AlignedBuffer<float> products(static_cast<std::size_t>(kSearchColumns * lanes));
  for (std::int64_t begin = 0; begin < columns; begin += kSearchColumns) {
    const std::int64_t width = std::min(kSearchColumns, columns - begin);
    const MatrixView y(products.data(), width, lanes);
    this->products(ConstMatrixView(pass.coupling + begin * columns, width, columns), pass.residual, y);
    norms_of(shape.entries, shape.codebooks, shape.entry_count(), shape.group, pass.metric + begin * group,
             width / group, norms);
    pool_.for_range((panels + 1) / 2, 1, [&](int, std::int64_t from, std::int64_t to) {
      for (std::int64_t pair = from; pair < to; ++pair) {
        BlockSearch block;
        block.panels = static_cast<int>(std::min<std::int64_t>(2, panels - 2 * pair));
        block.codebooks = shape.codebooks;
        block.group = shape.group;
        block.sweeps = pass.sweeps;
        block.feedback = pass.feedback;
        block.entry_count = shape.entry_count();
        block.entries = shape.entries;
        block.norms = norms;
        block.metric = pass.metric + begin * group;
        block.coupling = pass.coupling + begin * columns + begin;
        block.coupling_stride = columns;
        block.columns = width;
        block.product_stride = lanes;
        for (int i = 0; i < block.panels; ++i) {
          const std::int64_t p = 2 * pair + i;
          block.scales[i] = shape.scales + p * 16;
          block.weights[i] = pass.weights + (p * columns + begin) * 16;
          block.residual[i] = pass.residual + (p * columns + begin) * 16;
          block.products[i] = products.data() + p * 16;
          block.codes[i] = pass.codes + (p * shape.groups() + begin / group) * shape.codebooks * 16;
        }
        codebook_.search_block(block);
      }
    });
  }
}

void CpuCodebooks::nearest(const float* entries, std::int64_t count, int group, const float* points,
                           std::int64_t panels, std::int32_t* index) {
  std::vector<float> identity(static_cast<std::size_t>(group * group), 0.0f);
  for (int d = 0; d < group; ++d) identity[static_cast<std::size_t>(d * group + d)] = 1.0f;
  float* norms = grown(norms_, count);
  norms_of(entries, 1, count, group, identity.data(), 1, norms);
  pool_.for_range((panels + 1) / 2, 1, [&](int, std::int64_t from, std::int64_t to) {
    float g[2 * 16 * 16];
    for (std::int64_t pair = from; pair < to; ++pair) {
      EntryScan scan;
      scan.panels = static_cast<int>(std::min<std::int64_t>(2, panels - 2 * pair));
      for (std::int64_t i = 0; i < scan.panels * group * 16; ++i) g[i] = -2.0f * points[2 * pair * group * 16 + i];
      scan.entries = entries;
      scan.norms = norms;
      scan.count = count;
      scan.group = group;
      scan.g = g;
      scan.index = index + 2 * pair * 16;
      codebook_.scan_entries(scan);
    }
  });
}

}  // namespace quench::kernels
