// The solver's inner parts: LDLᵀ of a panel, grids of sixteen rows, and the columns of sixteen rows solved
// one after the other. Lanes are rows, so rows never meet.
#include "kernels/cpu/lanes/grid.inl"

namespace quench::kernels::QUENCH_ISA {
namespace {

// Unblocked LDLᵀ of a diagonal tile, left-looking: U_ij = A_ij - sum_{k<j} U_ik L_jk (one FMA chain in k),
// D_j = U_jj, L_ij = U_ij / D_j. Only the lower triangle is read and written.
std::int64_t factor_diagonal(float* tile, std::int64_t stride, std::int64_t columns, float* pivots) {
  // U of row i, needed while row i's L is formed: U_ik = what was divided by D_k.
  float u[kPanelWidthMax];
  for (std::int64_t i = 0; i < columns; ++i) {
    float* row = tile + i * stride;
    for (std::int64_t j = 0; j <= i; ++j) {
      const float* other = tile + j * stride;
      float value = row[j];
      const std::int64_t end = j;
      for (std::int64_t k = 0; k < end; ++k) {
        const float factor = j == i ? row[k] : other[k];
        value = __builtin_fmaf(-u[k], factor, value);
      }
      if (j < i) {
        u[j] = value;
        row[j] = value / pivots[j];
      } else {
        if (!(value > 0.0f) || value > kLargestFloat) return i;
        pivots[i] = value;
      }
    }
  }
  return -1;
}

template <int Groups>
QUENCH_INLINE void factor_row_groups(const FactorRows& f, std::int64_t row) {
  // scratch: U as [column][Groups][16], lanes are rows.
  for (std::int64_t g = 0; g < Groups; ++g) {
    for (std::int64_t lane = 0; lane < 16; ++lane) {
      const std::int64_t r = row + g * 16 + lane;
      for (std::int64_t j = 0; j < f.columns; ++j) {
        f.scratch[(j * Groups + g) * 16 + lane] = r < f.rows ? f.data[r * f.stride + j] : 0.0f;
      }
    }
  }
  for (std::int64_t j = 0; j < f.columns; ++j) {
    F value[Groups];
    for (int g = 0; g < Groups; ++g) value[g] = load(f.scratch + (j * Groups + g) * 16);
    const float* other = f.diagonal + j * f.stride;
    for (std::int64_t k = 0; k < j; ++k) {
      const F factor = set1(other[k]);
#pragma GCC unroll 4
      for (int g = 0; g < Groups; ++g) value[g] = fnma(load(f.scratch + (k * Groups + g) * 16), factor, value[g]);
    }
    for (int g = 0; g < Groups; ++g) store(f.scratch + (j * Groups + g) * 16, value[g]);
  }
  for (std::int64_t g = 0; g < Groups; ++g) {
    for (std::int64_t lane = 0; lane < 16; ++lane) {
      const std::int64_t r = row + g * 16 + lane;
      if (r >= f.rows) break;
      for (std::int64_t j = 0; j < f.columns; ++j) {
        f.data[r * f.stride + j] = f.scratch[(j * Groups + g) * 16 + lane] / f.pivots[j];
      }
    }
  }
}

void factor_rows(const FactorRows& f) {
  std::int64_t row = 0;
  for (; row + 64 <= f.rows; row += 64) factor_row_groups<4>(f, row);
  for (; row < f.rows; row += 16) factor_row_groups<1>(f, row);
}

// Columns [first, first + Count), whose sums stay in registers: error = handle(k, value) of each, in order.
template <int Count, typename Handle>
QUENCH_INLINE void column_tile(const SolveColumns& s, std::int64_t first, const Handle& handle) {
  const std::int64_t width = s.end - s.begin;
  F value[Count];
#pragma GCC unroll 8
  for (int c = 0; c < Count; ++c) value[c] = load(s.current + (first + c) * s.stride);
  const float* row = s.feedback + (first - s.begin);  // of j = s.begin
  for (std::int64_t j = s.begin; s.feedback != nullptr && j < first; ++j, row += width) {
    const F error = load(s.errors + j * 16);
#pragma GCC unroll 8
    for (int c = 0; c < Count; ++c) value[c] = fma(error, set1(row[c]), value[c]);
  }
#pragma GCC unroll 8
  for (int c = 0; c < Count; ++c) {
    const F error = handle(first + c, value[c]);
    if (s.feedback == nullptr) continue;
#pragma GCC unroll 8
    for (int next = c + 1; next < Count; ++next) value[next] = fma(error, set1(row[c * width + next]), value[next]);
  }
}

template <typename Handle> QUENCH_INLINE void column_tiles(const SolveColumns& s, const Handle& handle) {
  std::int64_t k = s.begin;
  for (; k + kColumnTile <= s.end; k += kColumnTile) column_tile<kColumnTile>(s, k, handle);
  for (; k < s.end; ++k) column_tile<1>(s, k, handle);
}

void solve_columns(const SolveColumns& s) {
  const F scale = load(s.scale), grid_zero = load(s.zero), code_max = set1(s.code_max);
  D loss = s.losses != nullptr ? double_load(s.losses) : double_zero();
  column_tiles(s, [&](std::int64_t k, F value) {
    const F level = nearest_level(div(value, scale), grid_zero, code_max);
    const F rounded = mul(level, scale);
    store_u8(s.codes + k * s.code_stride, add(level, grid_zero));
    if (s.pivots != nullptr && s.losses != nullptr) {
      const D miss = widen(sub(value, rounded));
      loss = double_fma(double_mul(miss, miss), double_set1(s.pivots[k - s.begin]), loss);
    }
    const F error = sub(load(s.errors + k * 16), rounded);
    store(s.errors + k * 16, error);
    return error;
  });
  if (s.losses != nullptr) double_store(s.losses, loss);
}

// current[k] becomes W'_k of gptq.h and errors[k] = W_k - W'_k: feedback with nothing rounded.
void update_columns(const SolveColumns& s) {
  column_tiles(s, [&](std::int64_t k, F value) {
    store(s.current + k * s.stride, value);
    const F error = sub(load(s.errors + k * 16), value);
    store(s.errors + k * 16, error);
    return error;
  });
}

// sums += Δ_j (H Δ)_j over the columns j of a block, in double; a product of two floats is exact there.
void fold_products(const FoldedProducts& f) {
  D sum = double_load(f.sums);
  for (std::int64_t j = 0; j < f.columns; ++j) {
    sum = double_fma(widen(load(f.products + j * f.stride)), widen(load(f.vectors + j * 16)), sum);
  }
  double_store(f.sums, sum);
}

}  // namespace

void fill_gptq(KernelTable& table) {
  table.factor_diagonal = factor_diagonal;
  table.factor_rows = factor_rows;
  table.fit_grid = fit_grid;
  table.solve_columns = solve_columns;
  table.update_columns = update_columns;
  table.fold_products = fold_products;
}

}  // namespace quench::kernels::QUENCH_ISA
