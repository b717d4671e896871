// Energies w H wᵀ of weight rows as whole numbers: with s_i = sqrt(H_ii), u_i = w_i s_i and the correlations c_ij = H_ij /
// (s_i s_j), w H wᵀ = sum of u_i^2 + 2 sum over i>j of u_i c_ij u_j. The first sum is taken in double. In the second u and
// c have twelve bits, so that a word holds two and one operation does four of fp32's; the roundings are random and
// average out (some 1e-5 of a row). Whole numbers are the same on every instruction set. 2 * pairs * columns * 16 * panels
// multiply-adds a block. Included by integer_dot.inl.

namespace quench::kernels::QUENCH_ISA {
namespace {

QUENCH_INLINE I paired(I low, I high) { return int_or(int_and(low, int_set1(0xffff)), shift_left<16>(high)); }
QUENCH_INLINE I low_half(I pair) { return shift_right_signed<16>(shift_left<16>(pair)); }
QUENCH_INLINE I high_half(I pair) { return shift_right_signed<16>(pair); }

QUENCH_INLINE I twelve_bits(F x) {
  const F most = set1(static_cast<float>(kPairMax));
  return nearest_int(maximum(minimum(x, most), sub(zero(), most)));
}

void pack_correlations(const CorrelationRows& c) {
  const std::int64_t pairs = (c.rows + 1) / 2;
  std::int32_t* out = c.out;
  for (std::int64_t j = 0, used = 0; j < c.columns; j += used) {
    used = micro_panel_rows(c.columns - j, kTileRows);
    const F columns = load_n(c.column_factors + j, used);
    const auto row_at = [&](std::int64_t i) {
      F value = mul(mul(load_n(c.panel + i * c.width + j, used), set1(c.row_factors[i])), columns);
      const std::int64_t below = i - j;  // columns that this row is below
      if (below < used) value = keep_n(value, below > 0 ? below : 0);
      return twelve_bits(value);
    };
    for (std::int64_t pair = 0; pair < pairs; ++pair) {
      const std::int64_t i = c.first_row + 2 * pair;
      const I high = 2 * pair + 1 < c.rows ? row_at(i + 1) : int_set1(0);
      // Whole vectors: what is too much is overwritten by what comes next, or lands in the spare words.
      int_store(out + pair * used, paired(row_at(i), high));
    }
    out += pairs * used;
  }
}

void scale_rows(const ScaledRows& s) {
  F most = zero();
  D squares = double_zero();
  for (std::int64_t k = 0; k < s.columns; ++k) {
    const F value = mul(load(s.weights + k * 16), set1(s.factors[k]));
    most = maximum(maximum(value, sub(zero(), value)), most);
    squares = double_fma(widen(value), widen(value), squares);
  }
  double_store(s.squares, squares);
  const F tiny = set1(1e-30f);  // its inverse is finite
  const F inverse = select_gt(most, tiny, div(set1(static_cast<float>(kPairMax)), maximum(most, tiny)), zero());
  store(s.units, select_gt(most, tiny, div(most, set1(static_cast<float>(kPairMax))), zero()));
  const auto column = [&](std::int64_t k) {
    return twelve_bits(mul(mul(load(s.weights + k * 16), set1(s.factors[k])), inverse));
  };
  for (std::int64_t k = 0; k < s.columns; k += 2) {
    int_store(s.out + k * 8, paired(column(k), k + 1 < s.columns ? column(k + 1) : int_set1(0)));
  }
}

template <int Rows, int Panels>
QUENCH_INLINE void pair_tile(std::int64_t pairs, const std::int32_t* a, const std::int32_t* const* b, std::int32_t* out) {
  I sum[Rows][Panels];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) sum[i][p] = int_set1(0);
  }
  for (std::int64_t k = 0; k < pairs; ++k) {
    I vector[Panels];
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) vector[p] = int_load(b[p] + k * 16);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      const I x = int_set1(a[k * Rows + i]);
#pragma GCC unroll 4
      for (int p = 0; p < Panels; ++p) sum[i][p] = pair_madd(x, vector[p], sum[i][p]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int p = 0; p < Panels; ++p) int_store(out + (i * Panels + p) * 16, sum[i][p]);
  }
}

template <int Rows, int Panels> struct PairTileByRows {
  static void run(std::int64_t rows, std::int64_t pairs, const std::int32_t* a, const std::int32_t* const* b, std::int32_t* out) {
    if (rows == Rows) return pair_tile<Rows, Panels>(pairs, a, b, out);
    PairTileByRows<Rows - 1, Panels>::run(rows, pairs, a, b, out);
  }
};
template <int Panels> struct PairTileByRows<0, Panels> {
  static void run(std::int64_t, std::int64_t, const std::int32_t*, const std::int32_t* const*, std::int32_t*) {}
};

template <int Panels> QUENCH_INLINE void products_of(const CorrelationProducts& c) {
  std::int32_t products[kTileRows * Panels * 16];
  const std::int32_t* vectors[Panels];
  D sums[Panels];
#pragma GCC unroll 4
  for (int p = 0; p < Panels; ++p) {
    vectors[p] = c.vectors + p * c.stride;
    sums[p] = double_load(c.sums + p * 16);
  }
  for (std::int64_t j = 0, used = 0; j < c.columns; j += used) {
    used = micro_panel_rows(c.columns - j, kTileRows);
    PairTileByRows<kTileRows, Panels>::run(used, c.pairs, c.rows + j * c.pairs, vectors, products);
    for (std::int64_t i = 0; i < used; ++i) {
#pragma GCC unroll 4
      for (int p = 0; p < Panels; ++p) {
        const I pair = int_load(c.column_vectors + p * c.stride + (j + i) / 2 * 16);
        const I own = (j + i) % 2 == 0 ? low_half(pair) : high_half(pair);
        sums[p] = double_fma(widen(int_load(products + (i * Panels + p) * 16)), widen(own), sums[p]);
      }
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < Panels; ++p) double_store(c.sums + p * 16, sums[p]);
}

void correlation_products(const CorrelationProducts& c) {
  if constexpr (kTilePanels > 1) {
    if (c.panels == 1) return products_of<1>(c);
  }
  products_of<kTilePanels>(c);
}

}  // namespace
}  // namespace quench::kernels::QUENCH_ISA
