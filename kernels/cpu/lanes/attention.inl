// Causal attention of up to kAttentionRows query rows of one key-value head, 4 * length * head_dim flops a row:
//   s_j = scale * sum_d q_d k_jd      one FMA chain over d, lanes are 16 keys
//   p_j = exp(s_j - max s)            the maximum is exact; lane j mod 16 of the sum, then a fixed tree
//   out_d = (sum_j p_j v_jd) / sum p  one FMA chain over j, lanes are 16 dimensions
// over the keys j that the row sees, [begin, length). A row's bits do not depend on which rows share its tile: what it does not
// see has p = 0, which adds nothing.
#include "kernels/cpu/lanes/exp.inl"

namespace quench::kernels::QUENCH_ISA {
namespace {

template <int Rows, int Blocks>
QUENCH_INLINE void score_blocks(const AttentionTile& t, std::int64_t block) {
  F sum[Rows][Blocks];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int b = 0; b < Blocks; ++b) sum[i][b] = zero();
  }
  const float* keys = t.keys + block * t.head_dim * 16;
  for (std::int64_t d = 0; d < t.head_dim; ++d) {
    F key[Blocks];
#pragma GCC unroll 4
    for (int b = 0; b < Blocks; ++b) key[b] = load(keys + (b * t.head_dim + d) * 16);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const F q = set1(t.q[i][d]);
#pragma GCC unroll 4
      for (int b = 0; b < Blocks; ++b) sum[i][b] = fma(q, key[b], sum[i][b]);
    }
  }
  const F scale = set1(t.scale);
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int b = 0; b < Blocks; ++b) store(t.scores + i * t.score_stride + (block + b) * 16, mul(sum[i][b], scale));
  }
}

// Scores of a row from `begin`, a multiple of 16, on to probabilities (not yet divided); gives their sum.
float exponentiate(float* scores, std::int64_t begin, std::int64_t length) {
  const F least = set1(-__builtin_inff());
  F most = least;
  std::int64_t j = begin;
  for (; j + 16 <= length; j += 16) most = maximum(load(scores + j), most);
  float m = max_lanes(most);
  for (; j < length; ++j) m = scores[j] > m ? scores[j] : m;
  const F shift = set1(m);
  F total = zero();
  for (j = begin; j + 16 <= length; j += 16) {
    const F p = exp_lanes(sub(load(scores + j), shift));
    store(scores + j, p);
    total = add(total, p);
  }
  if (j < length) {
    const F p = keep_n(exp_lanes(sub(load(scores + j), shift)), length - j);
    store(scores + j, p);
    total = add(total, p);
  }
  return sum_lanes(total);
}

template <int Rows, int Chunks>
QUENCH_INLINE void weigh_values(const AttentionTile& t, std::int64_t begin, std::int64_t d, std::int64_t padded,
                                const float* sums) {
  F out[Rows][Chunks];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int c = 0; c < Chunks; ++c) out[i][c] = zero();
  }
  // Begins and lengths rise from row to row; the first row's last key comes before no other row's.
  const std::int64_t common = t.lengths[0];
  const float* values = t.values + d;
  for (std::int64_t j = begin; j < common; ++j) {
    F v[Chunks];
#pragma GCC unroll 8
    for (int c = 0; c < Chunks; ++c) v[c] = load(values + j * padded + 16 * c);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const F p = set1(t.scores[i * t.score_stride + j]);
#pragma GCC unroll 8
      for (int c = 0; c < Chunks; ++c) out[i][c] = fma(p, v[c], out[i][c]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
    for (std::int64_t j = common; j < t.lengths[i]; ++j) {
      const F p = set1(t.scores[i * t.score_stride + j]);
#pragma GCC unroll 8
      for (int c = 0; c < Chunks; ++c) out[i][c] = fma(p, load(values + j * padded + 16 * c), out[i][c]);
    }
    const F sum = set1(sums[i]);
#pragma GCC unroll 8
    for (int c = 0; c < Chunks; ++c) {
      const std::int64_t left = t.head_dim - d - 16 * c;
      store_n(t.out[i] + d + 16 * c, div(out[i][c], sum), left < 16 ? left : 16);
    }
  }
}

template <int Rows>
void attend(const AttentionTile& t) {
  constexpr int blocks_at_once = Rows == 1 ? 4 : kTilePanels;
  constexpr int chunks_at_once = Rows == 1 ? 4 : 2 * kTilePanels - 1;
  const std::int64_t blocks = (t.lengths[Rows - 1] + 15) / 16;
  // Whole blocks of keys: those before a row's first get the probability 0.
  const std::int64_t begin = t.begins[0] / 16 * 16;
  std::int64_t block = begin / 16;
  for (; block + blocks_at_once <= blocks; block += blocks_at_once) score_blocks<Rows, blocks_at_once>(t, block);
  for (; block < blocks; ++block) score_blocks<Rows, 1>(t, block);
  float sums[Rows];
  for (int i = 0; i < Rows; ++i) {
    float* scores = t.scores + i * t.score_stride;
    for (std::int64_t j = begin; j < t.begins[i]; ++j) scores[j] = -__builtin_inff();
    sums[i] = exponentiate(scores, begin, t.lengths[i]);
  }
  const std::int64_t padded = (t.head_dim + 15) / 16 * 16;
  std::int64_t d = 0;
  for (; d + 16 * chunks_at_once <= padded; d += 16 * chunks_at_once) {
    weigh_values<Rows, chunks_at_once>(t, begin, d, padded, sums);
  }
  for (; d < padded; d += 16) weigh_values<Rows, 1>(t, begin, d, padded, sums);
}

template <int Rows> void attend_rows(const AttentionTile& t) {
  if constexpr (Rows > 0) {
    if (t.rows == Rows) return attend<Rows>(t);
    attend_rows<Rows - 1>(t);
  }
}

void attention(const AttentionTile& t) { attend_rows<kAttentionRows>(t); }

}  // namespace

void fill_attention(KernelTable& table) {
  table.attention_rows = kAttentionRows;
  table.attention = attention;
}

}  // namespace quench::kernels::QUENCH_ISA
