// Additive codebooks on sixteen lanes, which are rows. The scan costs group FMAs for each entry and row and decides the
// time of a search: two panels share the broadcast of an entry.
namespace quench::kernels::QUENCH_ISA {
namespace {

constexpr int kCodebooksMost = 8;

QUENCH_INLINE std::int64_t code_at_row(const std::uint8_t* sixteen, int bits, int row) {
  if (bits == 8) return sixteen[row];
  if (bits == 16) return sixteen[2 * row] | sixteen[2 * row + 1] << 8;
  const int at = row * bits;
  const std::uint8_t* p = sixteen + at / 8;
  const std::uint32_t word = p[0] | static_cast<std::uint32_t>(p[1]) << 8 | static_cast<std::uint32_t>(p[2]) << 16;
  return (word >> (at % 8)) & ((1u << bits) - 1u);
}

// out[d] = value d of sixteen entries, one of each lane.
template <int G> QUENCH_INLINE void gather_entries(const float* const* entry, F* out) {
#if defined(__AVX2__)
#pragma GCC unroll 2
  for (int d = 0; d < G; d += 8) {
    alignas(64) float turned[8][16];
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const float* const* e = entry + 8 * half;
      const __m256 r0 = _mm256_loadu_ps(e[0] + d), r1 = _mm256_loadu_ps(e[1] + d), r2 = _mm256_loadu_ps(e[2] + d),
                   r3 = _mm256_loadu_ps(e[3] + d), r4 = _mm256_loadu_ps(e[4] + d), r5 = _mm256_loadu_ps(e[5] + d),
                   r6 = _mm256_loadu_ps(e[6] + d), r7 = _mm256_loadu_ps(e[7] + d);
      const __m256 a0 = _mm256_unpacklo_ps(r0, r1), a1 = _mm256_unpackhi_ps(r0, r1), a2 = _mm256_unpacklo_ps(r2, r3),
                   a3 = _mm256_unpackhi_ps(r2, r3), a4 = _mm256_unpacklo_ps(r4, r5), a5 = _mm256_unpackhi_ps(r4, r5),
                   a6 = _mm256_unpacklo_ps(r6, r7), a7 = _mm256_unpackhi_ps(r6, r7);
      const __m256 b0 = _mm256_shuffle_ps(a0, a2, 0x44), b1 = _mm256_shuffle_ps(a0, a2, 0xee),
                   b2 = _mm256_shuffle_ps(a1, a3, 0x44), b3 = _mm256_shuffle_ps(a1, a3, 0xee),
                   b4 = _mm256_shuffle_ps(a4, a6, 0x44), b5 = _mm256_shuffle_ps(a4, a6, 0xee),
                   b6 = _mm256_shuffle_ps(a5, a7, 0x44), b7 = _mm256_shuffle_ps(a5, a7, 0xee);
      _mm256_store_ps(turned[0] + 8 * half, _mm256_permute2f128_ps(b0, b4, 0x20));
      _mm256_store_ps(turned[1] + 8 * half, _mm256_permute2f128_ps(b1, b5, 0x20));
      _mm256_store_ps(turned[2] + 8 * half, _mm256_permute2f128_ps(b2, b6, 0x20));
      _mm256_store_ps(turned[3] + 8 * half, _mm256_permute2f128_ps(b3, b7, 0x20));
      _mm256_store_ps(turned[4] + 8 * half, _mm256_permute2f128_ps(b0, b4, 0x31));
      _mm256_store_ps(turned[5] + 8 * half, _mm256_permute2f128_ps(b1, b5, 0x31));
      _mm256_store_ps(turned[6] + 8 * half, _mm256_permute2f128_ps(b2, b6, 0x31));
      _mm256_store_ps(turned[7] + 8 * half, _mm256_permute2f128_ps(b3, b7, 0x31));
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) out[d + i] = load(turned[i]);
  }
#else
  for (int d = 0; d < G; ++d) {
    float values[16];
    for (int lane = 0; lane < 16; ++lane) values[lane] = entry[lane][d];
    out[d] = load(values);
  }
#endif
}

template <int G> void expand_groups(const EntryPanel& p) {
  const std::int64_t sixteen_bytes = 2 * p.code_bits;
  const F scale = p.scales != nullptr ? load(p.scales) : set1(1.0f);
  float* out = p.out;
  const float* weights = p.weights;
  for (std::int64_t j = p.group_begin; j < p.group_end; ++j) {
    const std::uint8_t* codes = p.codes + j * p.codebooks * sixteen_bytes;
    const auto part = [&](int m, F* value) {
      const float* entries = p.entries + m * p.entry_count * G;
      const float* entry[16];
      for (int lane = 0; lane < 16; ++lane)
        entry[lane] = entries + code_at_row(codes + m * sixteen_bytes, p.code_bits, lane) * G;
      gather_entries<G>(entry, value);
    };
    F sum[G];
    part(0, sum);
    for (int m = 1; m < p.codebooks; ++m) {
      F value[G];
      part(m, value);
      for (int d = 0; d < G; ++d) sum[d] = add(sum[d], value[d]);
    }
    for (int d = 0; d < G; ++d) {
      F value = p.scales != nullptr ? mul(scale, sum[d]) : sum[d];
      if (weights != nullptr) value = sub(load(weights + d * 16), value);
      store(out + d * 16, value);
    }
    out += G * 16;
    if (weights != nullptr) weights += G * 16;
  }
}

void expand_entries(const EntryPanel& panel) {
  if (panel.group == 8) return expand_groups<8>(panel);
  expand_groups<16>(panel);
}

template <int G>
void norms_of(const float* columns, std::int64_t count, const float* metric, float* norms) {
  const std::int64_t stride = (count + 15) / 16 * 16;
  for (std::int64_t e = 0; e < count; e += 16) {
    F c[G];
    for (int d = 0; d < G; ++d) c[d] = load(columns + d * stride + e);
    F norm = zero();
    for (int d = 0; d < G; ++d) {
      F product = mul(set1(metric[d * G]), c[0]);
      for (int i = 1; i < G; ++i) product = fma(set1(metric[d * G + i]), c[i], product);
      norm = fma(product, c[d], norm);
    }
    store(norms + e, norm);
  }
}

void entry_norms(const float* columns, std::int64_t count, int group, const float* metric, float* norms) {
  if (group == 8) return norms_of<8>(columns, count, metric, norms);
  norms_of<16>(columns, count, metric, norms);
}

// Scores of one entry for `Panels` panels; what is least so far and where.
template <int G, int Panels>
QUENCH_INLINE void scan(const float* entries, const float* norms, std::int64_t count, const F (*g)[G], std::int32_t* index) {
  F best[Panels], at[Panels], low[Panels][G];
#pragma GCC unroll 2
  for (int p = 0; p < Panels; ++p) {
    best[p] = set1(__builtin_inff());
    at[p] = zero();
#pragma GCC unroll 16
    for (int d = 0; d < G; ++d) low[p][d] = g[p][d];
  }
  for (std::int64_t e = 0; e < count; ++e) {
    const float* entry = entries + e * G;
    F score[Panels];
#pragma GCC unroll 2
    for (int p = 0; p < Panels; ++p) score[p] = set1(norms[e]);
#pragma GCC unroll 16
    for (int d = 0; d < G; ++d) {
      const F value = set1(entry[d]);
#pragma GCC unroll 2
      for (int p = 0; p < Panels; ++p) score[p] = fma(value, low[p][d], score[p]);
    }
    const F here = set1(static_cast<float>(e));
#pragma GCC unroll 2
    for (int p = 0; p < Panels; ++p) {
      at[p] = select_gt(best[p], score[p], here, at[p]);
      best[p] = minimum(score[p], best[p]);
    }
  }
  for (int p = 0; p < Panels; ++p) {
    float values[16];
    store(values, at[p]);
    for (int lane = 0; lane < 16; ++lane) index[p * 16 + lane] = static_cast<std::int32_t>(values[lane]);
  }
}

template <int G, int Panels> void scan_of(const EntryScan& s) {
  F g[Panels][G];
  for (int p = 0; p < Panels; ++p)
    for (int d = 0; d < G; ++d) g[p][d] = load(s.g + (p * G + d) * 16);
  scan<G, Panels>(s.entries, s.norms, s.count, g, s.index);
}

void scan_entries(const EntryScan& s) {
  if (s.group == 8) return s.panels == 2 ? scan_of<8, 2>(s) : scan_of<8, 1>(s);
  s.panels == 2 ? scan_of<16, 2>(s) : scan_of<16, 1>(s);
}

template <int G> QUENCH_INLINE void times_metric(const float* metric, const F* x, F* out) {
  for (int d = 0; d < G; ++d) {
    F sum = mul(set1(metric[d * G]), x[0]);
    for (int i = 1; i < G; ++i) sum = fma(set1(metric[d * G + i]), x[i], sum);
    out[d] = sum;
  }
}

template <int G> void load_entries(const BlockSearch& b, int codebook, const std::uint16_t* codes, F* out) {
  const float* entries = b.entries + codebook * b.entry_count * G;
  const float* entry[16];
  for (int lane = 0; lane < 16; ++lane) entry[lane] = entries + static_cast<std::int64_t>(codes[lane]) * G;
  gather_entries<G>(entry, out);
}

template <int G, int Panels> void search(const BlockSearch& b) {
  F inverse[Panels], scale[Panels];
  for (int p = 0; p < Panels; ++p) {
    float values[16];
    for (int lane = 0; lane < 16; ++lane) values[lane] = b.scales[p][lane] == 0.0f ? 0.0f : 1.0f / b.scales[p][lane];
    inverse[p] = load(values);
    scale[p] = load(b.scales[p]);
  }
  // What each codebook gives, and the target P: the least of q · Q q - 2 q · P is sought.
  F part[Panels][kCodebooksMost][G], target[Panels][G], change[Panels][G], g[Panels][G];
  for (std::int64_t j = 0; j < b.columns / G; ++j) {
    const float* metric = b.metric + j * G * G;
    const float* norms = b.norms + j * b.codebooks * b.entry_count;
    for (int p = 0; p < Panels; ++p) {
      const float* y = b.products[p] + j * G * b.product_stride;
      F x[G];
      if (b.feedback) {
        for (int d = 0; d < G; ++d) x[d] = add(load(b.weights[p] + (j * G + d) * 16), load(y + d * b.product_stride));
        times_metric<G>(metric, x, target[p]);
        for (int d = 0; d < G; ++d) target[p][d] = mul(inverse[p], target[p][d]);
        for (int m = 0; m < b.codebooks; ++m)
          for (int d = 0; d < G; ++d) part[p][m][d] = zero();
      } else {
        load_entries<G>(b, 0, b.codes[p] + j * b.codebooks * 16, part[p][0]);
        for (int d = 0; d < G; ++d) x[d] = part[p][0][d];
        for (int m = 1; m < b.codebooks; ++m) {
          load_entries<G>(b, m, b.codes[p] + (j * b.codebooks + m) * 16, part[p][m]);
          for (int d = 0; d < G; ++d) x[d] = add(x[d], part[p][m][d]);
        }
        times_metric<G>(metric, x, target[p]);
        for (int d = 0; d < G; ++d) target[p][d] = fma(inverse[p], load(y + d * b.product_stride), target[p][d]);
      }
    }
    for (int sweep = 0; sweep < b.sweeps; ++sweep) {
      for (int m = 0; m < b.codebooks; ++m) {
        for (int p = 0; p < Panels; ++p) {
          F others[G], product[G];
          for (int d = 0; d < G; ++d) {
            others[d] = zero();
            for (int i = 0; i < b.codebooks; ++i)
              if (i != m) others[d] = add(others[d], part[p][i][d]);
          }
          times_metric<G>(metric, others, product);
          for (int d = 0; d < G; ++d) g[p][d] = mul(set1(-2.0f), sub(target[p][d], product[d]));
        }
        std::int32_t index[Panels * 16];
        scan<G, Panels>(b.entries + m * b.entry_count * G, norms + m * b.entry_count, b.entry_count, g, index);
        for (int p = 0; p < Panels; ++p) {
          std::uint16_t* codes = b.codes[p] + (j * b.codebooks + m) * 16;
          for (int lane = 0; lane < 16; ++lane) codes[lane] = static_cast<std::uint16_t>(index[p * 16 + lane]);
          load_entries<G>(b, m, codes, part[p][m]);
        }
      }
    }
    for (int p = 0; p < Panels; ++p) {
      for (int d = 0; d < G; ++d) {
        F sum = part[p][0][d];
        for (int m = 1; m < b.codebooks; ++m) sum = add(sum, part[p][m][d]);
        float* residual = b.residual[p] + (j * G + d) * 16;
        const F left = sub(load(b.weights[p] + (j * G + d) * 16), mul(scale[p], sum));
        change[p][d] = b.feedback ? left : sub(left, load(residual));
        store(residual, left);
      }
      for (std::int64_t c = (j + 1) * G; c < b.columns; ++c) {
        const float* row = b.coupling + c * b.coupling_stride + j * G;
        float* y = b.products[p] + c * b.product_stride;
        F sum = load(y);
        for (int d = 0; d < G; ++d) sum = fma(set1(row[d]), change[p][d], sum);
        store(y, sum);
      }
    }
  }
}

void search_block(const BlockSearch& b) {
  if (b.group == 8) return b.panels == 2 ? search<8, 2>(b) : search<8, 1>(b);
  b.panels == 2 ? search<16, 2>(b) : search<16, 1>(b);
}

}  // namespace

void fill_codebook(CodebookTable& table) {
  table.expand_entries = expand_entries;
  table.entry_norms = entry_norms;
  table.scan_entries = scan_entries;
  table.search_block = search_block;
}

}  // namespace quench::kernels::QUENCH_ISA
