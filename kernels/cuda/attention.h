// Causal attention over the cache layout of kv_cache.h, with the CPU's bits (cpu/lanes/attention.inl): a score is one
// chain over d, the sum of exp(s - max s) has 16 chains by j mod 16, an output one chain over j. Rows are (token, head)
// pairs that share one key-value head; scores go through device memory. Grid of all: z = segment * kv_heads +
// kv_head, y tiles of rows.
#pragma once

#include "kernels/cuda/tile_product.h"
#include "kernels/tensor_view.h"

namespace quench::kernels::cuda {

// One segment as the kernels see it. `first_token`, `tokens`: the part of its rows that this launch does.
struct SegmentTask {
  float* keys = nullptr;
  float* values = nullptr;
  std::int64_t capacity = 0;
  std::int64_t length = 0;       // keys before this step for AppendKv, all keys for attention
  std::int64_t row_begin = 0;    // of the activations
  std::int64_t row_count = 0;
  std::int64_t first_token = 0;
  std::int64_t tokens = 0;
  std::int64_t scores = 0;       // where this segment's scores begin, in elements
  std::int64_t sums = 0;
};

struct AttentionShape {
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t score_stride = 0;  // keys, a multiple of 16

  QUENCH_DEVICE std::int64_t per_kv() const { return heads / kv_heads; }
  QUENCH_DEVICE std::int64_t padded_dim() const { return (head_dim + 15) / 16 * 16; }
};

// Puts k and v rows behind each cache. Grid: x blocks of 16 keys from the one that the first new key falls in, z.
struct AppendKv {
  static constexpr int kThreads = 256;
  struct Shared {};
  ConstMatrixView k, v;
  const SegmentTask* segments = nullptr;
  AttentionShape shape;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared&) const {
    group.each([&](int thread) {
      const SegmentTask& segment = segments[group.z() / shape.kv_heads];
      const std::int64_t head = group.z() % shape.kv_heads, dim = shape.head_dim, padded = shape.padded_dim();
      const std::int64_t block = segment.length / 16 + group.x();
      const std::int64_t end = segment.length + segment.row_count;
      if (block * 16 >= end) return;
      float* keys = segment.keys + (head * (segment.capacity / 16) + block) * dim * 16;
      for (std::int64_t i = thread; i < dim * 16; i += kThreads) {
        const std::int64_t key = block * 16 + i % 16, d = i / 16;
        if (key >= segment.length && key < end) {
          keys[i] = k.data[(segment.row_begin + key - segment.length) * k.stride + head * dim + d];
        } else if (block * 16 >= segment.length) {
          keys[i] = 0.0f;  // lanes not yet written hold numbers
        }
      }
      for (std::int64_t i = thread; i < padded * 16; i += kThreads) {
        const std::int64_t key = block * 16 + i / padded, d = i % padded;
        if (key < segment.length || key >= end) continue;
        segment.values[(head * segment.capacity + key) * padded + d] =
            d < dim ? v.data[(segment.row_begin + key - segment.length) * v.stride + head * dim + d] : 0.0f;
      }
    });
  }
};

// Keys that row `row` of a segment's part sees.
QUENCH_DEVICE std::int64_t keys_of_row(const SegmentTask& segment, const AttentionShape& shape, std::int64_t row) {
  return segment.length - segment.row_count + segment.first_token + row / shape.per_kv() + 1;
}
// Where the query or output of that row is.
QUENCH_DEVICE std::int64_t place_of_row(const SegmentTask& segment, const AttentionShape& shape, std::int64_t kv_head,
                                        std::int64_t row, std::int64_t stride) {
  const std::int64_t token = segment.row_begin + segment.first_token + row / shape.per_kv();
  return token * stride + (kv_head * shape.per_kv() + row % shape.per_kv()) * shape.head_dim;
}

// scores[row][key] = scale * q·k. Grid x: tiles of 128 keys.
template <int RowsPer>
struct AttentionScores {
  static constexpr int kThreads = kTileThreads;
  static constexpr int kRows = 16 * RowsPer;
  using Shared = TileShared<RowsPer>;
  ConstMatrixView q;
  const SegmentTask* segments = nullptr;
  AttentionShape shape;
  float scale = 1.0f;
  float* scores = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const SegmentTask& segment = segments[group.z() / shape.kv_heads];
    const std::int64_t kv_head = group.z() % shape.kv_heads;
    const std::int64_t rows = segment.tokens * shape.per_kv();
    const std::int64_t row0 = group.y() * kRows, key0 = group.x() * kTileCols;
    if (row0 >= rows) return;
    const std::int64_t last = row0 + kRows < rows ? row0 + kRows - 1 : rows - 1;
    if (key0 >= keys_of_row(segment, shape, last)) return;
    const float* keys = segment.keys + kv_head * segment.capacity * shape.head_dim;
    typename Group::template Local<TileSums<RowsPer>> sums(group);
    group.each([&](int thread) { sums[thread] = {}; });
    multiply_tile<RowsPer, LoadOrder::depth_first, LoadOrder::index_first>(
        group, shared, sums, shape.head_dim,
        [&](std::int64_t d) {
          return [&, from = q.data + d](int row) {
            return from[place_of_row(segment, shape, kv_head, line_inside(row0 + row, rows), q.stride)];
          };
        },
        [&](int col) {
          const std::int64_t key = line_inside(key0 + col, segment.length);
          return [from = keys + key / 16 * shape.head_dim * 16 + key % 16](std::int64_t d) { return from[d * 16]; };
        },
        NoLimit{});
    float* to = scores + segment.scores + kv_head * rows * shape.score_stride;
    group.each([&](int thread) {
      QUENCH_UNROLL
      for (int i = 0; i < RowsPer; ++i) {
        const std::int64_t row = row0 + tile_row<RowsPer>(thread, i);
        if (row >= rows) continue;
        QUENCH_UNROLL
        for (int j = 0; j < 8; ++j) {
          const std::int64_t key = key0 + tile_col(thread, j);
          if (key < segment.length) to[row * shape.score_stride + key] = sums[thread].v[i][j] * scale;
        }
      }
    });
  }
};

// Scores to exp(s - max s) and their sum. Grid y: rows (one a block).
struct AttentionSoftmax {
  static constexpr int kThreads = 128;
  static constexpr int kChunk = 1024;
  struct Shared {
    float most[kThreads];
    float chunk[kChunk];
    float partial[16];
  };
  const SegmentTask* segments = nullptr;
  AttentionShape shape;
  float* scores = nullptr;
  float* sums = nullptr;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const SegmentTask& segment = segments[group.z() / shape.kv_heads];
    const std::int64_t kv_head = group.z() % shape.kv_heads;
    const std::int64_t rows = segment.tokens * shape.per_kv(), row = group.y();
    if (row >= rows) return;
    const std::int64_t length = keys_of_row(segment, shape, row);
    float* at = scores + segment.scores + (kv_head * rows + row) * shape.score_stride;
    group.each([&](int thread) {
      float most = -INFINITY;
      for (std::int64_t j = thread; j < length; j += kThreads) most = maximum(at[j], most);
      shared.most[thread] = most;
      if (thread < 16) shared.partial[thread] = 0.0f;
    });
    for (int width = kThreads / 2; width > 0; width /= 2) {
      group.each([&](int thread) {
        if (thread < width) shared.most[thread] = maximum(shared.most[thread + width], shared.most[thread]);
      });
    }
    for (std::int64_t begin = 0; begin < length; begin += kChunk) {
      const int count = length - begin < kChunk ? static_cast<int>(length - begin) : kChunk;
      group.each([&](int thread) {
        for (int j = thread; j < count; j += kThreads) {
          const float p = exp_value(at[begin + j] - shared.most[0]);
          shared.chunk[j] = p;
          at[begin + j] = p;
        }
      });
      group.each([&](int thread) {
        if (thread >= 16) return;
        float sum = shared.partial[thread];
        for (int j = thread; j < count; j += 16) sum += shared.chunk[j];
        shared.partial[thread] = sum;
      });
    }
    group.each([&](int thread) {
      if (thread == 0) sums[segment.sums + kv_head * rows + row] = sum_sixteen(shared.partial);
    });
  }
};

// out = (p · v) / sum. Grid x: tiles of 128 dimensions.
template <int RowsPer>
struct AttentionValues {
  static constexpr int kThreads = kTileThreads;
  static constexpr int kRows = 16 * RowsPer;
  using Shared = TileShared<RowsPer>;
  const SegmentTask* segments = nullptr;
  AttentionShape shape;
  const float* scores = nullptr;
  const float* sums = nullptr;
  MatrixView out;

  template <typename Group>
  QUENCH_DEVICE void operator()(Group& group, Shared& shared) const {
    const SegmentTask& segment = segments[group.z() / shape.kv_heads];
    const std::int64_t kv_head = group.z() % shape.kv_heads;
    const std::int64_t rows = segment.tokens * shape.per_kv();
    const std::int64_t row0 = group.y() * kRows, d0 = group.x() * kTileCols;
    if (row0 >= rows) return;
    const std::int64_t last = row0 + kRows < rows ? row0 + kRows - 1 : rows - 1;
    const std::int64_t padded = shape.padded_dim();
    const float* values = segment.values + kv_head * segment.capacity * padded;
    const float* from = scores + segment.scores + kv_head * rows * shape.score_stride;
    typename Group::template Local<TileSums<RowsPer>> products(group);
    group.each([&](int thread) { products[thread] = {}; });
    multiply_tile<RowsPer, LoadOrder::depth_first, LoadOrder::index_first>(
        group, shared, products, keys_of_row(segment, shape, last),
        [&](std::int64_t key) {
          return [&, column = from + key](int row) { return column[line_inside(row0 + row, rows) * shape.score_stride]; };
        },
        [&](int col) {
          return [&, column = values + line_inside(d0 + col, padded)](std::int64_t key) { return column[key * padded]; };
        },
        [&](int row, std::int64_t key) { return key < keys_of_row(segment, shape, row0 + row); });
    group.each([&](int thread) {
      QUENCH_UNROLL
      for (int i = 0; i < RowsPer; ++i) {
        const std::int64_t row = row0 + tile_row<RowsPer>(thread, i);
        if (row >= rows) continue;
        const float sum = sums[segment.sums + kv_head * rows + row];
        QUENCH_UNROLL
        for (int j = 0; j < 8; ++j) {
          const std::int64_t d = d0 + tile_col(thread, j);
          if (d < shape.head_dim)
            out.data[place_of_row(segment, shape, kv_head, row, out.stride) + d] = products[thread].v[i][j] / sum;
        }
      }
    });
  }
};

using AttentionScoresTall = AttentionScores<8>;
using AttentionScoresFlat = AttentionScores<1>;
using AttentionValuesTall = AttentionValues<8>;
using AttentionValuesFlat = AttentionValues<1>;

}  // namespace quench::kernels::cuda
