// The keys and values of one sequence in all layers of a model.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kv_cache.h"
#include "kernels/memory.h"
#include "schemas/model_config.h"

namespace quench::worker {

class SequenceCache {
 public:
  // Room for `capacity` tokens at least, in the backend's `memory`. Throws std::bad_alloc.
  SequenceCache(const ModelConfig& config, std::int64_t capacity, kernels::Memory* memory = nullptr);

  // Tokens that went through all layers.
  std::int64_t length() const { return layers_.front().view().length; }
  std::int64_t capacity() const { return layers_.front().view().capacity; }
  kernels::KvCacheView& layer(std::uint32_t layer) { return layers_[layer].view(); }
  // Forgets all tokens.
  void clear();
  // Bytes that a cache of `capacity` tokens takes.
  static std::uint64_t bytes(const ModelConfig& config, std::int64_t capacity);

 private:
  std::vector<kernels::KvCache> layers_;
};

}  // namespace quench::worker
