// The model's forward pass on threads.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <limits>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/double_math.h"

namespace quench::kernels {
namespace {

// Columns of x and W a block takes. More than a first-level cache of 32 KiB holds for two panels: they stream from the
// second level, which costs less than to take the accumulators from y and back more often (Zen 4: 101 GFLOP/s with 256,
// 105 with 384 and with 512).
constexpr std::int64_t kBlockColumns = 384;
// With few rows of x both sides of a deeper block stay in the second level (32 rows of 4 bits: 11.1 ns for 16 weights with
// 384, 10.3 with 1024).
constexpr std::int64_t kFewRows = 64;
constexpr std::int64_t kDeepColumns = 1024;
// Rows of x in flight: 480 x 384 floats stay in the second-level cache; a multiple of 12 and of 6.
constexpr std::int64_t kBlockRows = 480;
// Fewer multiplications than this are not worth waking a thread for.
constexpr std::int64_t kGrainFlops = 1 << 16;
constexpr std::int64_t kGrainElements = 1 << 14;

std::int64_t rows_grain(std::int64_t cols) { return kGrainElements / std::max<std::int64_t>(cols, 1) + 1; }

}  // namespace

void CpuBackend::gemm(ConstMatrixView x, const WeightView& weight, MatrixView y) noexcept {
  QUENCH_KERNEL_CHECK_EQ(x.cols, weight.cols);
  QUENCH_KERNEL_CHECK_EQ(y.cols, weight.rows);
  QUENCH_KERNEL_CHECK_EQ(x.rows, y.rows);
  if (x.rows == 0 || weight.rows == 0) return;
  if (products_ == Products::bf16) return brain_gemm(x, weight, y);
  if (x.rows == 1) {
    const std::int64_t grain = kGrainFlops / (16 * std::max<std::int64_t>(weight.cols, 1)) + 1;
    pool_.for_range(panel_count(weight.rows), grain, [&](int, std::int64_t begin, std::int64_t end) {
      table_.gemv(weight, x.data, begin, end, y.data);
    });
    return;
  }
  for (std::int64_t row = 0; row < x.rows; row += kBlockRows) {
    const std::int64_t rows = std::min(kBlockRows, x.rows - row);
    multiply_rows(x.row_range(row, rows), weight, y.row_range(row, rows));
  }
}

// Up to kBlockRows rows: x is packed once for all threads, which then share out (rows x panels).
void CpuBackend::multiply_rows(ConstMatrixView x, const WeightView& weight, MatrixView y) noexcept {
  const std::int64_t depth = x.rows <= kFewRows ? kDeepColumns : kBlockColumns;
  const std::int64_t blocks = (x.cols + depth - 1) / depth;
  float* packed = shared_.floats(x.rows * x.cols);
  pool_.for_range(blocks, kGrainElements / (depth * x.rows) + 1,
                  [&](int, std::int64_t begin, std::int64_t end) {
                    for (std::int64_t b = begin; b < end; ++b) {
                      const std::int64_t k = b * depth;
                      table_.pack_rows(x.data + k, x.stride, x.rows, std::min(depth, x.cols - k),
                                       packed + x.rows * k);
                    }
                  });
  const std::int64_t panels = panel_count(weight.rows);
  const std::int64_t units = (panels + table_.gemm_panels - 1) / table_.gemm_panels;
  const std::int64_t grain =
      kGrainFlops / (16 * table_.gemm_panels * x.rows * std::max<std::int64_t>(x.cols, 1)) + 1;
  // With fewer panels than threads (a narrow layer on a wide machine) the rows are shared out as well.
  // In whole micro-panels; the last share also takes the rest, whose cut depends on the panel before it.
  const std::int64_t micro_panels = std::max<std::int64_t>(1, x.rows / table_.gemm_rows);
  std::int64_t row_shares = 1;
  while (units < pool_.size() / row_shares && row_shares < micro_panels &&
         pool_.size() % (row_shares * 2) == 0) {
    row_shares *= 2;
  }
  pool_.for_range(units * row_shares, grain, [&](int thread, std::int64_t begin, std::int64_t end) {
    float* scratch = own_[static_cast<std::size_t>(thread)].floats(std::min(depth, x.cols) * 16 * table_.gemm_panels);
    GemmBlock block;
    block.weight = weight;
    block.y_stride = y.stride;
    block.scratch = scratch;
    while (begin < end) {
      // A run of units within one share of rows.
      const std::int64_t share = begin / units;
      const std::int64_t stop = std::min(end, (share + 1) * units);
      const std::int64_t first_row = micro_panels * share / row_shares * table_.gemm_rows;
      const std::int64_t last_row =
          share + 1 == row_shares ? x.rows : micro_panels * (share + 1) / row_shares * table_.gemm_rows;
      block.rows = last_row - first_row;
      block.y = y.row(first_row);
      block.panel_begin = (begin - share * units) * table_.gemm_panels;
      block.panel_end = std::min(panels, (stop - share * units) * table_.gemm_panels);
      for (std::int64_t k = 0; k < x.cols; k += depth) {
        block.k_begin = k;
        block.k_count = std::min(depth, x.cols - k);
        block.packed = packed + x.rows * k + first_row * block.k_count;
        block.carry = k > 0;
        table_.gemm_block(block);
      }
      begin = stop;
    }
  });
}

void CpuBackend::gather_columns(ConstMatrixView x, std::span<const std::int32_t> permutation,
                                MatrixView y) noexcept {
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(permutation.size()), y.cols);
  QUENCH_KERNEL_CHECK_EQ(x.rows, y.rows);
  pool_.for_range(x.rows, rows_grain(y.cols), [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const float* from = x.row(row);
      float* to = y.row(row);
      for (std::int64_t c = 0; c < y.cols; ++c) to[c] = from[permutation[static_cast<std::size_t>(c)]];
    }
  });
}

bool CpuBackend::all_finite(ConstMatrixView x) noexcept {
  std::atomic<bool> finite{true};
  pool_.for_range(x.rows, rows_grain(x.cols), [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end && finite.load(std::memory_order_relaxed); ++row) {
      const float* values = x.row(row);
      // Adding one to an exponent carries into the sign's place only from all ones: infinity and NaN.
      std::uint32_t carries = 0;
      for (std::int64_t c = 0; c < x.cols; ++c) {
        carries |= (std::bit_cast<std::uint32_t>(values[c]) & 0x7f800000u) + 0x00800000u;
      }
      if ((carries & 0x80000000u) != 0) finite.store(false, std::memory_order_relaxed);
    }
  });
  return finite.load();
}

void CpuBackend::embed(std::span<const std::int32_t> ids, const EmbeddingView& table,
                       MatrixView out) noexcept {
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(ids.size()), out.rows);
  QUENCH_KERNEL_CHECK_EQ(table.cols, out.cols);
  const std::uint8_t* base = static_cast<const std::uint8_t*>(table.data);
  const std::int64_t row_bytes = table.cols * static_cast<std::int64_t>(element_bytes(table.type));
  for (std::int64_t i = 0; i < out.rows; ++i) {
    const std::int64_t id = ids[static_cast<std::size_t>(i)];
    QUENCH_KERNEL_CHECK_LE(0, id);
    QUENCH_KERNEL_CHECK_LE(id, table.rows - 1);
    table_.convert(base + id * row_bytes, table.type, table.cols, out.row(i));
  }
}

void CpuBackend::rms_norm(ConstMatrixView x, const float* weight, float epsilon, MatrixView y) noexcept {
  QUENCH_KERNEL_CHECK_EQ(x.rows, y.rows);
  QUENCH_KERNEL_CHECK_EQ(x.cols, y.cols);
  pool_.for_range(x.rows, rows_grain(x.cols), [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      table_.rms_norm(x.row(row), weight, epsilon, x.cols, y.row(row));
  });
}

void CpuBackend::layer_norm(ConstMatrixView x, const float* weight, const float* bias, float epsilon, MatrixView y) noexcept {
  QUENCH_KERNEL_CHECK_EQ(x.rows, y.rows);
  QUENCH_KERNEL_CHECK_EQ(x.cols, y.cols);
  pool_.for_range(x.rows, rows_grain(x.cols), [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      table_.layer_norm(x.row(row), weight, bias, epsilon, x.cols, y.row(row));
  });
}

void CpuBackend::gelu(ConstMatrixView x, MatrixView out) noexcept {
  QUENCH_KERNEL_CHECK_EQ(x.rows, out.rows);
  QUENCH_KERNEL_CHECK_EQ(x.cols, out.cols);
  pool_.for_range(out.rows, rows_grain(out.cols * 4), [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) table_.gelu(x.row(row), out.cols, out.row(row));
  });
}

void CpuBackend::add_bias(const float* bias, MatrixView y) noexcept {
  pool_.for_range(y.rows, rows_grain(y.cols), [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) table_.add(bias, y.cols, y.row(row));
  });
}

void CpuBackend::rope(MatrixView x, const RopeTable& table,
                      std::span<const std::int32_t> positions) noexcept {
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(positions.size()), x.rows);
  QUENCH_KERNEL_CHECK_EQ(x.cols % table.head_dim, 0);
  const std::int64_t half = table.head_dim / 2;
  pool_.for_range(x.rows, rows_grain(x.cols), [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t position = positions[static_cast<std::size_t>(row)];
      QUENCH_KERNEL_CHECK_LE(position, table.positions - 1);
      table_.rope(x.row(row), x.cols / table.head_dim, table.head_dim, table.cosines.data() + position * half,
                  table.sines.data() + position * half);
    }
  });
}

void CpuBackend::silu_multiply(ConstMatrixView gate, ConstMatrixView up, MatrixView out) noexcept {
  QUENCH_KERNEL_CHECK_EQ(gate.rows, up.rows);
  QUENCH_KERNEL_CHECK_EQ(gate.cols, up.cols);
  QUENCH_KERNEL_CHECK_EQ(gate.rows, out.rows);
  QUENCH_KERNEL_CHECK_EQ(gate.cols, out.cols);
  pool_.for_range(out.rows, rows_grain(out.cols * 4), [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      table_.silu_multiply(gate.row(row), up.row(row), out.cols, out.row(row));
    }
  });
}

void CpuBackend::add(ConstMatrixView x, MatrixView y) noexcept {
  QUENCH_KERNEL_CHECK_EQ(x.rows, y.rows);
  QUENCH_KERNEL_CHECK_EQ(x.cols, y.cols);
  pool_.for_range(x.rows, rows_grain(x.cols), [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) table_.add(x.row(row), x.cols, y.row(row));
  });
}

void CpuBackend::append_kv(ConstMatrixView k, ConstMatrixView v,
                           std::span<const KvSegment> segments) noexcept {
  QUENCH_KERNEL_CHECK_EQ(k.rows, v.rows);
  QUENCH_KERNEL_CHECK_EQ(k.cols, v.cols);
  for (const KvSegment& segment : segments) {
    KvCacheView& cache = *segment.cache;
    QUENCH_KERNEL_CHECK_EQ(k.cols, cache.kv_heads * cache.head_dim);
    QUENCH_KERNEL_CHECK_LE(segment.row_begin + segment.row_count, k.rows);
    QUENCH_KERNEL_CHECK_LE(cache.length + segment.row_count, cache.capacity);
    const std::int64_t dim = cache.head_dim, padded = cache.padded_dim();
    pool_.for_range(cache.kv_heads, kGrainElements / (dim * segment.row_count + 1) + 1,
                    [&](int, std::int64_t begin, std::int64_t end) {
                      for (std::int64_t head = begin; head < end; ++head) {
                        for (std::int64_t i = 0; i < segment.row_count; ++i) {
                          const std::int64_t key = cache.length + i, row = segment.row_begin + i;
                          float* block = cache.key_block(head, key / 16);
                          // A fresh block starts at zero, so that lanes not yet written hold numbers.
                          if (key % 16 == 0)
                            std::memset(block, 0, static_cast<std::size_t>(dim) * 16 * sizeof(float));
                          const float* from_key = k.row(row) + head * dim;
                          for (std::int64_t d = 0; d < dim; ++d) block[d * 16 + key % 16] = from_key[d];
                          float* value = cache.value_row(head, key);
                          std::memcpy(value, v.row(row) + head * dim,
                                      static_cast<std::size_t>(dim) * sizeof(float));
                          for (std::int64_t d = dim; d < padded; ++d) value[d] = 0.0f;
                        }
                      }
                    });
    cache.length += segment.row_count;
  }
}

void CpuBackend::attention(ConstMatrixView q, std::span<const KvSegment> segments, float scale,
                           MatrixView out) noexcept {
  window_attention(q, segments, scale, std::numeric_limits<std::int64_t>::max(), out);
}

void CpuBackend::window_attention(ConstMatrixView q, std::span<const KvSegment> segments, float scale, std::int64_t window,
                                  MatrixView out) noexcept {
  QUENCH_KERNEL_CHECK_LE(1, window);
  QUENCH_KERNEL_CHECK_EQ(q.rows, out.rows);
  QUENCH_KERNEL_CHECK_EQ(q.cols, out.cols);
  // Tiles of a few (token, head) rows of one key-value head, dealt out in turn: the causal triangle makes late
  // tiles the dearer ones.
  const auto work = [&](int thread, int threads) {
    std::int64_t tile_index = 0;
    for (const KvSegment& segment : segments) {
      const KvCacheView& cache = *segment.cache;
      const std::int64_t heads = q.cols / cache.head_dim;
      const std::int64_t per_kv = heads / cache.kv_heads;
      const std::int64_t rows = segment.row_count * per_kv;
      const std::int64_t first_position = cache.length - segment.row_count;
      const std::int64_t stride = (cache.length + 15) / 16 * 16;
      float* scores = own_[static_cast<std::size_t>(thread)].floats(table_.attention_rows * stride);
      for (std::int64_t kv_head = 0; kv_head < cache.kv_heads; ++kv_head) {
        for (std::int64_t row = 0; row < rows; row += table_.attention_rows, ++tile_index) {
          if (tile_index % threads != thread) continue;
          AttentionTile tile;
          tile.rows = std::min<std::int64_t>(table_.attention_rows, rows - row);
          for (std::int64_t i = 0; i < tile.rows; ++i) {
            const std::int64_t token = (row + i) / per_kv;
            const std::int64_t head = kv_head * per_kv + (row + i) % per_kv;
            tile.q[i] = q.row(segment.row_begin + token) + head * cache.head_dim;
            tile.out[i] = out.row(segment.row_begin + token) + head * cache.head_dim;
            tile.lengths[i] = first_position + token + 1;
            tile.begins[i] = std::max<std::int64_t>(0, tile.lengths[i] - window);
          }
          tile.head_dim = cache.head_dim;
          tile.keys = cache.key_block(kv_head, 0);
          tile.values = cache.value_row(kv_head, 0);
          tile.scale = scale;
          tile.scores = scores;
          tile.score_stride = stride;
          table_.attention(tile);
        }
      }
    }
  };
  std::int64_t products = 0;
  for (const KvSegment& segment : segments) {
    QUENCH_KERNEL_CHECK_EQ(q.cols % (segment.cache->head_dim * segment.cache->kv_heads), 0);
    QUENCH_KERNEL_CHECK_LE(segment.row_count, segment.cache->length);
    products += segment.row_count * std::min(segment.cache->length, window) * q.cols;
  }
  if (products < kGrainFlops) return work(0, 1);
  pool_.run([&](int thread) { work(thread, pool_.size()); });
}

void CpuBackend::log_softmax(ConstMatrixView logits, MatrixView out) noexcept {
  QUENCH_KERNEL_CHECK_EQ(logits.rows, out.rows);
  QUENCH_KERNEL_CHECK_EQ(logits.cols, out.cols);
  pool_.for_range(logits.rows, rows_grain(logits.cols), [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      float max = 0, sum = 0;
      table_.softmax_sum(logits.row(row), logits.cols, &max, &sum);
      const float log_sum = static_cast<float>(exact_log(static_cast<double>(sum)));
      table_.shift(logits.row(row), logits.cols, max, log_sum, out.row(row));
    }
  });
}

void CpuBackend::argmax(ConstMatrixView logits, std::span<std::int32_t> out) noexcept {
  QUENCH_KERNEL_CHECK_EQ(logits.rows, static_cast<std::int64_t>(out.size()));
  pool_.for_range(logits.rows, rows_grain(logits.cols), [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      out[static_cast<std::size_t>(row)] =
          static_cast<std::int32_t>(table_.argmax(logits.row(row), logits.cols));
    }
  });
}

}  // namespace quench::kernels
