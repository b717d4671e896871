#include <cmath>

#include "tests/kernels/backend_fixture.h"

namespace quench::kernels {
namespace {

class AttentionTest : public BackendTest {};

// Prefills `tokens` rows in chunks, so that many, some or one token is processed at a time.
Matrix attend_in_chunks(Backend& backend, const Matrix& q, const Matrix& k, const Matrix& v,
                        std::int64_t kv_heads, std::int64_t dim, std::int64_t chunk, std::int64_t window = 0) {
  KvCache cache(kv_heads, dim, q.rows);
  Matrix out(q.rows, q.cols);
  for (std::int64_t t = 0; t < q.rows; t += chunk) {
    const std::int64_t count = std::min(chunk, q.rows - t);
    const KvSegment segment{&cache.view(), t, count};
    backend.append_kv(k.view(), v.view(), {&segment, 1});
    if (window > 0)
      backend.window_attention(q.view(), {&segment, 1}, 0.3f, window, out.view());
    else
      backend.attention(q.view(), {&segment, 1}, 0.3f, out.view());
  }
  return out;
}

TEST_P(AttentionTest, MatchesDoubleScalarAndAnyChunking) {
  struct Shape {
    std::int64_t tokens, heads, kv_heads, dim;
  };
  for (const Shape s :
       {Shape{17, 6, 2, 8}, Shape{70, 4, 4, 40}, Shape{33, 8, 1, 64}, Shape{130, 3, 1, 128}}) {
    const Matrix q = random_matrix(s.tokens, s.heads * s.dim, 1),
                 k = random_matrix(s.tokens, s.kv_heads * s.dim, 2),
                 v = random_matrix(s.tokens, s.kv_heads * s.dim, 3);
    const Matrix prefill = attend_in_chunks(*backend, q, k, v, s.kv_heads, s.dim, s.tokens);
    EXPECT_TRUE(same_bits(prefill.values, attend_in_chunks(*backend, q, k, v, s.kv_heads, s.dim, 1).values));
    EXPECT_TRUE(same_bits(prefill.values, attend_in_chunks(*backend, q, k, v, s.kv_heads, s.dim, 7).values));
    EXPECT_TRUE(
        same_bits(prefill.values, attend_in_chunks(*reference, q, k, v, s.kv_heads, s.dim, s.tokens).values));
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      for (std::int64_t h = 0; h < s.heads; ++h) {
        const std::int64_t kv = h / (s.heads / s.kv_heads);
        std::vector<double> p;
        double max = -1e300, sum = 0;
        for (std::int64_t j = 0; j <= t; ++j) {
          double score = 0;
          for (std::int64_t d = 0; d < s.dim; ++d) {
            score += static_cast<double>(q.at(t, h * s.dim + d)) * k.at(j, kv * s.dim + d);
          }
          p.push_back(score * 0.3f);
          max = std::max(max, p.back());
        }
        for (double& value : p) sum += value = std::exp(value - max);
        for (std::int64_t d = 0; d < s.dim; ++d) {
          double value = 0;
          for (std::int64_t j = 0; j <= t; ++j)
            value += p[static_cast<std::size_t>(j)] / sum * v.at(j, kv * s.dim + d);
          ASSERT_NEAR(prefill.at(t, h * s.dim + d), value, 2e-5) << "token " << t << " head " << h;
        }
      }
    }
  }
}

// A token that sees its last `window` keys has what it would have, were they the only ones; to the bit where they begin a
// block of sixteen, because the lanes of a sum are keys.
TEST_P(AttentionTest, AWindowIsItsKeysAlone) {
  constexpr std::int64_t tokens = 101, heads = 6, kv_heads = 2, dim = 24;
  const Matrix q = random_matrix(tokens, heads * dim, 11), k = random_matrix(tokens, kv_heads * dim, 12),
               v = random_matrix(tokens, kv_heads * dim, 13);
  for (const std::int64_t window : {1, 5, 16, 37, 100, 101, 500}) {
    const Matrix whole = attend_in_chunks(*backend, q, k, v, kv_heads, dim, tokens, window);
    for (const std::int64_t chunk : {1, 7})
      EXPECT_TRUE(same_bits(whole.values, attend_in_chunks(*backend, q, k, v, kv_heads, dim, chunk, window).values)) << window;
    EXPECT_TRUE(same_bits(whole.values, attend_in_chunks(*reference, q, k, v, kv_heads, dim, tokens, window).values)) << window;
    for (std::int64_t t = 0; t < tokens; ++t) {
      const std::int64_t first = std::max<std::int64_t>(0, t + 1 - window);
      KvCache cache(kv_heads, dim, tokens);
      const KvSegment before{&cache.view(), first, t - first}, last{&cache.view(), t, 1};
      Matrix alone(tokens, heads * dim);
      if (before.row_count > 0) reference->append_kv(k.view(), v.view(), {&before, 1});
      reference->append_kv(k.view(), v.view(), {&last, 1});
      reference->attention(q.view(), {&last, 1}, 0.3f, alone.view());
      for (std::int64_t c = 0; c < heads * dim; ++c)
        ASSERT_NEAR(whole.at(t, c), alone.at(t, c), first % 16 == 0 ? 0 : 2e-6) << "window " << window << ", token " << t;
    }
  }
}

TEST_P(AttentionTest, ABatchOfSequencesOfDifferentLengthsIsTheSequencesAlone) {
  constexpr std::int64_t dim = 40, heads = 4, kv_heads = 2;
  const std::vector<std::int64_t> before = {0, 31, 5}, fresh = {9, 1, 20};
  Matrix out_together(30, heads * dim), out_alone(30, heads * dim);
  const Matrix q = random_matrix(30, heads * dim, 4), k = random_matrix(30, kv_heads * dim, 5),
               v = random_matrix(30, kv_heads * dim, 6), past = random_matrix(31, kv_heads * dim, 7);
  for (const bool together : {true, false}) {
    std::vector<KvCache> caches;
    std::vector<KvSegment> segments;
    for (const std::int64_t length : before) caches.emplace_back(kv_heads, dim, length + 20);
    std::int64_t row = 0;
    for (std::size_t i = 0; i < caches.size(); ++i) {
      const KvSegment earlier{&caches[i].view(), 0, before[i]};
      backend->append_kv(past.view(), past.view(), {&earlier, 1});
      segments.push_back({&caches[i].view(), row, fresh[i]});
      row += fresh[i];
    }
    if (together) {
      backend->append_kv(k.view(), v.view(), segments);
      backend->attention(q.view(), segments, 0.2f, out_together.view());
    } else {
      for (const KvSegment& segment : segments) {
        backend->append_kv(k.view(), v.view(), {&segment, 1});
        backend->attention(q.view(), {&segment, 1}, 0.2f, out_alone.view());
      }
    }
    EXPECT_EQ(caches[1].view().length, 32);
  }
  EXPECT_TRUE(same_bits(out_together.values, out_alone.values));
}

QUENCH_FOR_EVERY_BACKEND(AttentionTest);

}  // namespace
}  // namespace quench::kernels
