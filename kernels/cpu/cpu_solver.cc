// GPTQ and rounding to nearest on threads. Threads share out panels of sixteen rows.
//
// Working memory of solve_gptq for R rows (rounded up to 16): 9 bytes * R * C, 11 in products of bf16, and with several
// groups 8 bytes * R * (group size + kGridColumns).
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/transpose_panel.h"

namespace quench::kernels {
namespace {

// Columns solved between two matrix products, and the depth of one step of a product.
constexpr std::int64_t kSolveColumns = 64;
constexpr std::int64_t kBlockColumns = 512;
// Columns whose products of bf16 are one chain: part of the result (gptq.h).
constexpr std::int64_t kRunColumns = 256;

// Factors of values that are packed as they are.
constexpr auto kOnes = [] {
  std::array<float, 128> factors{};
  factors.fill(1.0f);
  return factors;
}();

// S[j][k] of the header, j < k, straight from the factor's panels.
class Feedback {
 public:
  explicit Feedback(const FactorView& factor) : factor_(factor), last_(factor.layout.columns - 1) {}
  // Column k as a pointer p such that S[j][k] = p[(C-1-j) * width].
  const float* column(std::int64_t k) const {
    const std::int64_t b = last_ - k;
    const std::int64_t panel = b / factor_.layout.width;
    return factor_.panels[panel] + factor_.layout.index(panel, 0, b);
  }
  // Columns [begin, end) as rows of a matrix product over j in [first, first + count): micro-panels of
  // `group` columns, each [j][group].
  void pack(std::int64_t begin, std::int64_t end, std::int64_t first, std::int64_t count, std::int64_t group,
            float* out) const {
    // In strips of j whose rows of the factor stay in the first-level cache for all micro-panels.
    constexpr std::int64_t strip = 64;
    for (std::int64_t j = 0; j < count; j += strip) {
      float* to = out;
      for (std::int64_t k = begin, used = 0; k < end; k += used) {
        used = micro_panel_rows(end - k, group);
        pack_micro_panel(k, used, first + j, std::min(strip, count - j), to + j * used);
        to += count * used;
      }
    }
  }
  // visit(k, count, done): columns k, k-1, ... k-count+1 lie side by side in a panel of the factor; `done` columns of
  // [begin, end) were visited before. From the last column to the first.
  template <typename Visit>
  void for_neighbours(std::int64_t begin, std::int64_t end, const Visit& visit) const {
    for (std::int64_t k = end - 1, count = 0; k >= begin; k -= count) {
      count = std::min(width() - (last_ - k) % width(), k + 1 - begin);
      visit(k, count, end - 1 - k);
    }
  }
  // The same columns for brain_update over the words of j in [first, first + count), an even number: the neighbours'
  // micro-panels one behind the other.
  void pack_brain(const KernelTable& table, std::int64_t begin, std::int64_t end, std::int64_t first, std::int64_t count,
                  std::uint32_t* out) const {
    for_neighbours(begin, end, [&](std::int64_t k, std::int64_t some, std::int64_t done) {
      table.brain_columns(column(k) + (last_ - first) * width(), -width(), count, some, kOnes.data(), out + done * (count / 2));
    });
  }
  float pivot(std::int64_t k) const { return factor_.pivots[last_ - k]; }
  std::int64_t width() const { return factor_.layout.width; }

 private:
  void pack_micro_panel(std::int64_t k, std::int64_t used, std::int64_t first, std::int64_t count,
                        float* out) const {
    const float* from = column(k) + (last_ - first) * width();
    // Columns k, k+1, ... lie side by side, falling, as long as they share a panel of the factor.
    const bool one_panel = (last_ - k) / width() == (last_ - (k + used - 1)) / width();
    if (one_panel) {
      switch (used) {
        case 12: return copy_falling<12>(from, count, out);
        case 10: return copy_falling<10>(from, count, out);
        case 8: return copy_falling<8>(from, count, out);
        case 6: return copy_falling<6>(from, count, out);
        case 5: return copy_falling<5>(from, count, out);
        case 4: return copy_falling<4>(from, count, out);
        default: break;
      }
    }
    for (std::int64_t i = 0; i < used; ++i) {
      from = column(k + i) + (last_ - first) * width();
      for (std::int64_t j = 0; j < count; ++j) out[j * used + i] = from[-j * width()];
    }
  }
  template <int Count>
  void copy_falling(const float* from, std::int64_t rows, float* out) const {
    for (std::int64_t j = 0; j < rows; ++j) {
      for (int i = 0; i < Count; ++i) out[i] = from[-i];
      out += Count;
      from -= width();
    }
  }

  const FactorView& factor_;
  std::int64_t last_;
};

void check_output(ConstMatrixView w, const GridSpec& grid, const SolveOutput& out) {
  QUENCH_KERNEL_CHECK_LE(2, grid.bits);
  QUENCH_KERNEL_CHECK_LE(grid.bits, 8);
  if (out.dequantized.data != nullptr) {
    QUENCH_KERNEL_CHECK_EQ(out.dequantized.rows, w.rows);
    QUENCH_KERNEL_CHECK_EQ(out.dequantized.cols, w.cols);
  }
}

// The results of one panel, from lanes to rows. In blocks of columns whose lines in sixteen rows fit the sets of the
// first-level cache: rows of a power of two share them.
void write_panel(ConstMatrixView w, std::int64_t panel, std::int64_t group_size, const std::uint8_t* codes,
                 const std::uint16_t* scale_bits, const float* scales, const float* zeros, const SolveOutput& out) {
  constexpr std::int64_t block_columns = 64;
  const std::int64_t groups = group_count(w.cols, group_size);
  const std::int64_t first = panel * 16, rows = std::min<std::int64_t>(16, w.rows - first);
  for (std::int64_t g = 0; g < groups; ++g) {
    const float* scale = scales + g * 16;
    const float* zero = zeros + g * 16;
    for (std::int64_t lane = 0; lane < rows; ++lane) {
      out.scales[(first + lane) * groups + g] = scale_bits[g * 16 + lane];
      out.zeros[(first + lane) * groups + g] = static_cast<std::uint8_t>(zero[lane]);
    }
    const std::int64_t end = std::min((g + 1) * group_size, w.cols);
    for (std::int64_t k = g * group_size, count = 0; k < end; k += count) {
      count = std::min(block_columns - k % block_columns, end - k);
      const std::uint8_t* from = codes + k * 16;
      for (std::int64_t lane = 0; lane < rows; ++lane) {
        std::uint8_t* code = out.codes + (first + lane) * w.cols + k;
        for (std::int64_t i = 0; i < count; ++i) code[i] = from[i * 16 + lane];
        if (out.dequantized.data == nullptr) continue;
        float* value = out.dequantized.row(first + lane) + k;
        for (std::int64_t i = 0; i < count; ++i) value[i] = (static_cast<float>(code[i]) - zero[lane]) * scale[lane];
      }
    }
  }
}

// The grids of one panel of sixteen rows, group after group.
struct PanelGrids {
  std::vector<std::uint16_t> bits;
  std::vector<float> scales;
  std::vector<float> zeros;
  explicit PanelGrids(std::int64_t groups)
      : bits(static_cast<std::size_t>(groups * 16)), scales(bits.size()), zeros(bits.size()) {}
};

GridColumns grid_columns(const float* current, std::int64_t stride, std::int64_t begin, std::int64_t end,
                         const GridSpec& grid, PanelGrids& grids, std::int64_t group) {
  const std::size_t at = static_cast<std::size_t>(group * 16);
  return {current, stride, begin, end, grid, &grids.bits[at], &grids.scales[at], &grids.zeros[at]};
}

}  // namespace

void CpuBackend::solve_gptq(ConstMatrixView w, const FactorView& factor, const GridSpec& grid, GroupRule rule,
                            const SolveOutput& out) noexcept {
  QUENCH_KERNEL_CHECK_EQ(w.cols, factor.layout.columns);
  check_output(w, grid, out);
  const std::int64_t columns = w.cols, panels = panel_count(w.rows);
  const std::int64_t group_size = grid.group_size < 0 ? columns : grid.group_size;
  const std::int64_t groups = group_count(columns, group_size);
  const Feedback feedback(factor);
  // All are [panel][C][16]: what is done to a panel stays in few pages and sets of a cache.
  const std::int64_t panel_values = columns * 16;
  float* current = solver_current_.floats(panels * panel_values);
  float* errors = solver_errors_.floats(panels * panel_values);
  auto* codes = reinterpret_cast<std::uint8_t*>(solver_codes_.floats(panels * panel_values / 4));
  // Errors of blocks that are behind, rounded to bf16: [panel][word][16].
  const std::int64_t panel_words = columns / kGridColumns * (kGridColumns / 2) * 16;
  auto* words = products_ == Products::bf16 ? reinterpret_cast<std::uint32_t*>(solver_words_.floats(panels * panel_words + 1)) : nullptr;
  std::vector<double> losses(static_cast<std::size_t>(panels * 16), 0.0);
  std::vector<PanelGrids> grids(static_cast<std::size_t>(panels), PanelGrids(groups));

  const auto fit = [&](std::int64_t panel, std::int64_t group) {
    const std::int64_t begin = group * group_size, end = std::min(begin + group_size, columns);
    table_.fit_grid(grid_columns(current + panel * panel_values, 16, begin, end, grid,
                                 grids[static_cast<std::size_t>(panel)], group));
  };
  pool_.for_range(panels, 1, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) {
      transpose_panel(w, p, errors + p * panel_values, 16);
      std::copy_n(errors + p * panel_values, panel_values, current + p * panel_values);
      if (rule == GroupRule::original) {
        for (std::int64_t g = 0; g < groups; ++g) fit(p, g);
      }
    }
  });

  // current[k] += sum over j in [first, last) of E_j S_jk for k in [begin, end): the chain goes on where it
  // was.
  const auto bring_up = [&](std::int64_t begin, std::int64_t end, std::int64_t first, std::int64_t last) {
    if (first >= last || begin >= end) return;
    const std::int64_t rows = end - begin, count = last - first;
    float* packed = shared_.floats(rows * count);
    const std::int64_t blocks = (count + kBlockColumns - 1) / kBlockColumns;
    pool_.for_range(blocks, 1, [&](int, std::int64_t from, std::int64_t to) {
      for (std::int64_t b = from; b < to; ++b) {
        const std::int64_t j = b * kBlockColumns;
        feedback.pack(begin, end, first + j, std::min(kBlockColumns, count - j), table_.gemm_rows,
                      packed + rows * j);
      }
    });
    pool_.for_range(panels, 1, [&](int, std::int64_t from, std::int64_t to) {
      GemmBlock block;
      block.rows = rows;
      block.weight.format = WeightFormat::f32;
      block.weight.rows = panels * 16;
      block.weight.cols = columns;
      block.weight.panels = errors;
      block.panel_begin = from;
      block.panel_end = to;
      block.y = current + begin * 16;
      block.y_stride = 16;
      block.y_panel_stride = panel_values;
      block.carry = true;
      for (std::int64_t j = 0; j < count; j += kBlockColumns) {
        block.k_begin = first + j;
        block.k_count = std::min(kBlockColumns, count - j);
        block.packed = packed + rows * j;
        table_.gemm_block(block);
      }
    });
  };

  // The same in products of bf16, of errors that are in `words`: `first` and `last` are even.
  const auto bring_up_in_bf16 = [&](std::int64_t begin, std::int64_t end, std::int64_t first, std::int64_t last) {
    if (first >= last || begin >= end) return;
    const std::int64_t rows = end - begin, first_run = first / kRunColumns;
    auto* packed = reinterpret_cast<std::uint32_t*>(shared_second_.floats(rows * ((last - first) / 2)));
    const auto run_begin = [&](std::int64_t run) { return std::clamp((first_run + run) * kRunColumns, first, last); };
    const auto packed_run = [&](std::int64_t run) { return packed + rows * ((run_begin(run) - first) / 2); };
    const std::int64_t runs = (last + kRunColumns - 1) / kRunColumns - first_run;
    pool_.for_range(runs, 1, [&](int, std::int64_t from, std::int64_t to) {
      for (std::int64_t run = from; run < to; ++run) {
        const std::int64_t j = run_begin(run);
        feedback.pack_brain(table_, begin, end, j, run_begin(run + 1) - j, packed_run(run));
      }
    });
    pool_.for_range(panels, 1, [&](int, std::int64_t from, std::int64_t to) {
      BrainUpdate update;
      update.panel_stride = panel_words;
      update.panels = to - from;
      update.y_stride = -16;
      update.y_panel_stride = panel_values;
      for (std::int64_t run = 0; run < runs; ++run) {
        const std::int64_t j = run_begin(run);
        update.words = (run_begin(run + 1) - j) / 2;
        update.b = words + from * panel_words + j / 2 * 16;
        feedback.for_neighbours(begin, end, [&](std::int64_t k, std::int64_t count, std::int64_t done) {
          update.a = packed_run(run) + done * update.words;
          update.rows = count;
          update.y = current + from * panel_values + k * 16;
          table_.brain_update(update);
        });
      }
    });
  };
  // For columns of blocks that are behind.
  const auto bring_up_blocks = [&](std::int64_t begin, std::int64_t end, std::int64_t first, std::int64_t last) {
    if (words != nullptr) return bring_up_in_bf16(begin, end, first, last);
    bring_up(begin, end, first, last);
  };

  float within[kSolveColumns * kSolveColumns];
  float pivots[kSolveColumns];
  const auto load_within = [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t width = end - begin;
    for (std::int64_t k = begin; k < end; ++k) {
      const float* column = feedback.column(k);
      pivots[k - begin] = feedback.pivot(k);
      for (std::int64_t j = begin; j < k; ++j) {
        within[(j - begin) * width + (k - begin)] = column[(columns - 1 - j) * feedback.width()];
      }
    }
  };
  const auto columns_of = [&](std::int64_t panel, std::int64_t begin, std::int64_t end) {
    SolveColumns solve;
    solve.current = current + panel * panel_values;
    solve.stride = 16;
    solve.errors = errors + panel * panel_values;
    solve.begin = begin;
    solve.end = end;
    solve.feedback = within;
    return solve;
  };

  // Fits the grids of groups [first_group, last_group) to W' of gptq.h. `current` of the columns [block,
  // range_end) holds the first of its sums and `errors` the weights; both do so again afterwards, because the
  // chains of the columns to solve go on from there.
  const bool keeps = rule == GroupRule::updated && columns > kGridColumns && groups > 1;
  std::vector<float> kept(keeps ? static_cast<std::size_t>((kGridColumns + group_size) * panels * 32) : 0);
  const auto fit_updated = [&](std::int64_t block, std::int64_t range_end, std::int64_t first_group,
                               std::int64_t last_group) {
    const std::int64_t range_values = (range_end - block) * 16;
    for (std::int64_t begin = block; begin < range_end; begin += kSolveColumns) {
      const std::int64_t end = std::min(begin + kSolveColumns, range_end);
      bring_up(begin, end, block, begin);
      load_within(begin, end);
      pool_.for_range(panels, 1, [&](int, std::int64_t from, std::int64_t to) {
        for (std::int64_t p = from; p < to; ++p) {
          float* sums = current + p * panel_values + block * 16;
          float* weights = errors + p * panel_values + block * 16;
          float* keep = kept.data() + p * 2 * range_values;
          if (begin == block) {
            std::copy_n(sums, range_values, keep);
            std::copy_n(weights, range_values, keep + range_values);
          }
          table_.update_columns(columns_of(p, begin, end));
          if (end < range_end) continue;
          for (std::int64_t g = first_group; g < last_group; ++g) fit(p, g);
          std::copy_n(keep, range_values, sums);
          std::copy_n(keep + range_values, range_values, weights);
        }
      });
    }
  };

  // `current` of the columns from the present block to ahead_end holds the feedback of all columns below
  // ahead_at; of columns further on, none.
  std::int64_t ahead_at = 0, ahead_end = 0;
  for (std::int64_t block = 0; block < columns; block += kGridColumns) {
    const std::int64_t block_end = std::min(block + kGridColumns, columns);
    const std::int64_t first_group = (block + group_size - 1) / group_size;
    const std::int64_t last_group =
        (block_end + group_size - 1) / group_size;  // those that begin in the block
    const bool fits = rule == GroupRule::updated && first_group < last_group;
    const std::int64_t range_end =
        fits ? std::max(block_end, std::min(last_group * group_size, columns)) : block_end;
    bring_up_blocks(block, std::min(ahead_end, range_end), ahead_at, block);
    bring_up_blocks(std::max(block, ahead_end), range_end, 0, block);
    if (range_end > ahead_end) ahead_at = block, ahead_end = range_end;
    if (fits && block == 0) {
      pool_.for_range(panels, 1, [&](int, std::int64_t begin, std::int64_t end) {
        for (std::int64_t p = begin; p < end; ++p) {
          for (std::int64_t g = 0; g < last_group; ++g) fit(p, g);
        }
      });
    } else if (fits) {
      fit_updated(block, range_end, first_group, last_group);
    }
    for (std::int64_t begin = block, end = 0; begin < block_end; begin = end) {
      const std::int64_t g = begin / group_size;
      end = std::min({begin + kSolveColumns, (g + 1) * group_size, block_end});
      bring_up(begin, end, block, begin);
      load_within(begin, end);
      pool_.for_range(panels, 1, [&](int, std::int64_t from, std::int64_t to) {
        for (std::int64_t p = from; p < to; ++p) {
          const PanelGrids& panel_grids = grids[static_cast<std::size_t>(p)];
          SolveColumns solve = columns_of(p, begin, end);
          solve.pivots = pivots;
          solve.scale = &panel_grids.scales[static_cast<std::size_t>(g * 16)];
          solve.zero = &panel_grids.zeros[static_cast<std::size_t>(g * 16)];
          solve.code_max = static_cast<float>((1 << grid.bits) - 1);
          solve.codes = codes + p * panel_values;
          solve.code_stride = 16;
          solve.losses = &losses[static_cast<std::size_t>(p * 16)];
          table_.solve_columns(solve);
          if (words == nullptr || end < block_end || block_end - block < kGridColumns) continue;
          table_.brain_lanes(errors + p * panel_values + block * 16, 16, kGridColumns, 16, kOnes.data(), words + p * panel_words + block / 2 * 16);
        }
      });
    }
  }

  pool_.for_range(panels, 1, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) {
      const PanelGrids& g = grids[static_cast<std::size_t>(p)];
      write_panel(w, p, group_size, codes + p * panel_values, g.bits.data(), g.scales.data(), g.zeros.data(),
                  out);
    }
  });
  if (out.losses != nullptr) std::copy_n(losses.begin(), w.rows, out.losses);
}

void CpuBackend::round_to_nearest(ConstMatrixView w, const GridSpec& grid, const SolveOutput& out) noexcept {
  check_output(w, grid, out);
  QUENCH_KERNEL_CHECK_EQ(out.losses == nullptr, true);
  const std::int64_t columns = w.cols;
  const std::int64_t group_size = grid.group_size < 0 ? columns : grid.group_size;
  const std::int64_t groups = group_count(columns, group_size);
  pool_.for_range(panel_count(w.rows), 1, [&](int thread, std::int64_t begin, std::int64_t end) {
    float* current = own_[static_cast<std::size_t>(thread)].floats(2 * columns * 16);
    float* errors = current + columns * 16;
    AlignedBuffer<std::uint8_t> codes(static_cast<std::size_t>(columns * 16));
    PanelGrids grids(groups);
    for (std::int64_t p = begin; p < end; ++p) {
      transpose_panel(w, p, current, 16);
      std::memcpy(errors, current, static_cast<std::size_t>(columns) * 16 * sizeof(float));
      for (std::int64_t g = 0; g < groups; ++g) {
        const std::int64_t first = g * group_size, last = std::min(first + group_size, columns);
        table_.fit_grid(grid_columns(current, 16, first, last, grid, grids, g));
        SolveColumns solve;
        solve.current = current;
        solve.stride = 16;
        solve.errors = errors;
        solve.begin = first;
        solve.end = last;
        solve.scale = &grids.scales[static_cast<std::size_t>(g * 16)];
        solve.zero = &grids.zeros[static_cast<std::size_t>(g * 16)];
        solve.code_max = static_cast<float>((1 << grid.bits) - 1);
        solve.codes = codes.data();
        solve.code_stride = 16;
        table_.solve_columns(solve);
      }
      write_panel(w, p, group_size, codes.data(), grids.bits.data(), grids.scales.data(),
                  grids.zeros.data(), out);
    }
  });
}

}  // namespace quench::kernels
