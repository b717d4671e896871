// The keys and values of one sequence in one layer, laid out for vector lanes.
//
//   keys    [kv_head][block of 16 keys][head_dim][16]: a score's lanes are 16 keys
//   values  [kv_head][key][padded head_dim]: an output's lanes are 16 dimensions; head_dim is
//           padded with zeros to a multiple of 16
#pragma once

#include <cstdint>

#include "kernels/tensor_view.h"

namespace quench::kernels {

// Owns nothing. `length` keys are present; Backend::append_kv advances it.
struct KvCacheView {
  float* keys = nullptr;
  float* values = nullptr;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t capacity = 0;  // keys there is room for, a multiple of 16
  std::int64_t length = 0;

  std::int64_t padded_dim() const { return (head_dim + 15) / 16 * 16; }
  float* key_block(std::int64_t head, std::int64_t block) const {
    return keys + (head * (capacity / 16) + block) * head_dim * 16;
  }
  float* value_row(std::int64_t head, std::int64_t key) const {
    return values + (head * capacity + key) * padded_dim();
  }
};

// The owner for one sequence and one layer. Room for `capacity` keys, rounded up to 16.
class KvCache {
 public:
  KvCache() = default;
  KvCache(std::int64_t kv_heads, std::int64_t head_dim, std::int64_t capacity, BufferSource* source = nullptr) {
    view_.kv_heads = kv_heads;
    view_.head_dim = head_dim;
    view_.capacity = (capacity + 15) / 16 * 16;
    keys_ = AlignedBuffer<float>(static_cast<std::size_t>(kv_heads * view_.capacity * head_dim), source);
    values_ = AlignedBuffer<float>(static_cast<std::size_t>(kv_heads * view_.capacity * view_.padded_dim()), source);
    view_.keys = keys_.data();
    view_.values = values_.data();
  }
  KvCacheView& view() { return view_; }
  const KvCacheView& view() const { return view_; }
  void clear() { view_.length = 0; }

 private:
  AlignedBuffer<float> keys_;
  AlignedBuffer<float> values_;
  KvCacheView view_;
};

// One sequence's share of a batch: rows [row_begin, row_begin + row_count) of the activations are
// its newest tokens, in order. append_kv puts them behind the cache's keys; attention, called after
// that, takes them as the last row_count positions of the cache. Prefill has many rows, decoding
// one; a batch may mix both.
struct KvSegment {
  KvCacheView* cache = nullptr;
  std::int64_t row_begin = 0;
  std::int64_t row_count = 0;
};

}  // namespace quench::kernels
