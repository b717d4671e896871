#include "worker/random_model.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/weight_panels.h"
#include "schemas/error.h"
#include "schemas/packed_layout.h"

namespace quench::worker {
namespace {

constexpr std::uint64_t kPageValues = 2048;

// FNV-1a: the same in every library, unlike std::hash, because these bytes decide digests.
std::uint64_t hash_of(const std::string& text, std::uint64_t seed) {
  std::uint64_t hash = 0xcbf29ce484222325u ^ seed;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// SplitMix64 (Steele, Lea, Flood 2014): `state` counts up, and what is given out is a mix of it.
std::uint64_t next_random(std::uint64_t& state) {
  std::uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

// The sum of four bytes is near to normal, with mean 510 and this deviation.
constexpr float kDeviation = 147.80f;

std::uint16_t normal_bf16(std::uint32_t random, float scale) {
  std::uint32_t pairs = (random & 0x00ff00ffu) + (random >> 8 & 0x00ff00ffu);
  const auto sum = static_cast<std::int32_t>((pairs & 0xffffu) + (pairs >> 16));
  const float value = static_cast<float>(sum - 510) * scale;
  return static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(value) + 0x8000u) >> 16);
}

// Weights near to normal, of deviation 1/sqrt(columns), so that activations keep their size in any shape; norms are 1.
class RandomModel : public WeightSource {
 public:
  RandomModel(const ModelConfig& config, std::uint32_t bits, std::int32_t group_size, std::uint64_t seed)
      : WeightSource(config), seed_(seed) {
    for (const NamedShape& tensor : model_tensors(config)) {
      StoredTensor stored;
      stored.shape = tensor.shape;
      stored.dtype = DType::bf16;
      if (bits > 0 && tensor.shape.size() == 2 && tensor.name != "model.embed_tokens.weight") {
        stored.layout = TensorLayout::packed;
        stored.bits = bits;
        stored.group_size = group_size;
        stored.rows_per_tile =
            tile_rows(static_cast<std::uint32_t>(tensor.shape[0]), static_cast<std::uint32_t>(tensor.shape[1]));
      }
      add_tensor(tensor.name, stored, place(tensor.name));
    }
  }
  std::string place(const std::string& name) const override { return "random model, tensor " + name; }
  // In pages of their own seed, so that a byte does not depend on the range it is read in: ranks read other shares.
  void read_bytes(const std::string& name, std::uint64_t offset, std::span<std::uint8_t> out) const override {
    constexpr std::uint64_t page_bytes = kPageValues * sizeof(std::uint16_t);
    const StoredTensor& stored = tensor(name);
    const bool norm = stored.shape.size() == 1;
    const float scale = 1.0f / (kDeviation * std::sqrt(static_cast<float>(stored.columns())));
    const std::uint64_t hash = hash_of(name, seed_);
    const std::uint64_t end = offset + out.size();
    std::array<std::uint16_t, kPageValues> page;
    for (std::uint64_t at = offset / page_bytes * page_bytes; at < end; at += page_bytes) {
      std::uint64_t page_state = at / page_bytes;
      std::uint64_t state = hash ^ next_random(page_state);
      for (std::size_t i = 0; i < page.size(); i += 2) {
        const std::uint64_t random = next_random(state);
        page[i] = norm ? 0x3f80 : normal_bf16(static_cast<std::uint32_t>(random), scale);
        page[i + 1] = norm ? 0x3f80 : normal_bf16(static_cast<std::uint32_t>(random >> 32), scale);
      }
      const std::uint64_t from = std::max(at, offset), to = std::min(at + page_bytes, end);
      std::memcpy(out.data() + (from - offset), reinterpret_cast<const std::uint8_t*>(page.data()) + (from - at), to - from);
    }
  }
  std::vector<std::uint8_t> read_tile(const std::string& name, std::uint64_t tile) const override {
    const StoredTensor& stored = tensor(name);
    const std::uint64_t first = tile * stored.rows_per_tile;
    const PackedTileShape shape{
        static_cast<std::uint32_t>(std::min<std::uint64_t>(stored.rows_per_tile, stored.rows() - first)),
        static_cast<std::uint32_t>(stored.columns()), stored.bits, stored.group_size};
    std::vector<std::uint8_t> bytes(shape.bytes());
    std::uint64_t state = hash_of(name, seed_) + tile;
    for (std::uint64_t i = 0; i + 8 <= shape.code_bytes(); i += 8) {
      const std::uint64_t word = next_random(state);
      std::memcpy(bytes.data() + i, &word, 8);
    }
    const std::uint16_t scale = kernels::f32_to_f16(0.06f / static_cast<float>(1 << stored.bits));
    for (std::uint64_t i = 0; i < shape.scale_bytes(); i += 2) std::memcpy(bytes.data() + shape.code_bytes() + i, &scale, 2);
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(shape.code_bytes() + shape.scale_bytes()), bytes.end(),
              static_cast<std::uint8_t>(1 << (stored.bits - 1)));
    return bytes;
  }
  std::vector<std::int32_t> read_permutation(const std::string&) const override { return {}; }

 private:
  std::uint64_t seed_;
};

}  // namespace

std::unique_ptr<WeightSource> make_random_model(const ModelConfig& config, std::uint32_t bits, std::int32_t group_size,
                                                std::uint64_t seed) {
  return std::make_unique<RandomModel>(config, bits, group_size, seed);
}

void check_shape(ModelConfig& config) {
  if (config.heads == 0 || config.kv_heads == 0 || config.heads % config.kv_heads != 0 || config.layers == 0 ||
      config.hidden_size % config.heads != 0 || config.hidden_size / config.heads % 2 != 0)
    throw Error(ErrorCode::bad_input, "hidden " + std::to_string(config.hidden_size) + ", heads " +
                                          std::to_string(config.heads) + ", kv heads " +
                                          std::to_string(config.kv_heads) + ", layers " +
                                          std::to_string(config.layers) +
                                          ": heads must divide hidden into an even size and be a multiple of the kv "
                                          "heads, layers be at least one");
  config.head_dim = config.hidden_size / config.heads;
}

}  // namespace quench::worker
