#include "worker/random_model.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <random>

#include "kernels/weight_panels.h"
#include "schemas/error.h"
#include "schemas/packed_layout.h"

namespace quench::worker {
namespace {

class RandomModel : public WeightSource {
 public:
  RandomModel(const ModelConfig& config, std::uint32_t bits, std::int32_t group_size) : WeightSource(config) {
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
    constexpr std::uint64_t page_bytes = 4096;
    const bool norm = tensor(name).shape.size() == 1;
    const std::uint64_t end = offset + out.size();
    std::array<std::uint16_t, page_bytes / 2> page;
    for (std::uint64_t at = offset / page_bytes * page_bytes; at < end; at += page_bytes) {
      std::minstd_rand random(static_cast<std::uint32_t>(std::hash<std::string>()(name) + at / page_bytes));
      // bf16 of 1, or of ±2^-5 … 2^-6 with a random mantissa.
      for (std::uint16_t& value : page) value = static_cast<std::uint16_t>(norm ? 0x3f80 : 0x3c80 | (random() >> 8 & 0x807f));
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
    std::mt19937_64 random(std::hash<std::string>()(name) + tile);
    for (std::uint64_t i = 0; i + 8 <= shape.code_bytes(); i += 8) {
      const std::uint64_t word = random();
      std::memcpy(bytes.data() + i, &word, 8);
    }
    const std::uint16_t scale = kernels::f32_to_f16(0.06f / static_cast<float>(1 << stored.bits));
    for (std::uint64_t i = 0; i < shape.scale_bytes(); i += 2) std::memcpy(bytes.data() + shape.code_bytes() + i, &scale, 2);
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(shape.code_bytes() + shape.scale_bytes()), bytes.end(),
              static_cast<std::uint8_t>(1 << (stored.bits - 1)));
    return bytes;
  }
  std::vector<std::int32_t> read_permutation(const std::string&) const override { return {}; }
};

}  // namespace

std::unique_ptr<WeightSource> make_random_model(const ModelConfig& config, std::uint32_t bits, std::int32_t group_size) {
  return std::make_unique<RandomModel>(config, bits, group_size);
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
