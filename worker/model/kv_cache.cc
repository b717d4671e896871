#include "worker/model/kv_cache.h"

namespace quench::worker {

SequenceCache::SequenceCache(const ModelConfig& config, std::int64_t capacity, kernels::Memory* memory) {
  layers_.reserve(config.layers);
  for (std::uint32_t layer = 0; layer < config.layers; ++layer)
    layers_.emplace_back(config.kv_heads, config.head_dim, capacity, memory);
}

void SequenceCache::clear() {
  for (kernels::KvCache& layer : layers_) layer.clear();
}

std::uint64_t SequenceCache::bytes(const ModelConfig& config, std::int64_t capacity) {
  const std::uint64_t keys = (static_cast<std::uint64_t>(capacity) + 15) / 16 * 16;
  const std::uint64_t padded_dim = (std::uint64_t{config.head_dim} + 15) / 16 * 16;
  return config.layers * std::uint64_t{config.kv_heads} * keys * (config.head_dim + padded_dim) *
         sizeof(float);
}

}  // namespace quench::worker
