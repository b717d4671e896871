// gradient_probe OUT.safetensors: a random block of codebook entries, one sequence, and the gradient of the summed squared
// error for every parameter, for block_gradient.py to hold against PyTorch's.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>

#include "schemas/safetensors.h"
#include "worker/quantize/aqlm/block_gradient.h"

namespace quench::worker {
namespace {

constexpr std::uint32_t kCodebooks = 2, kBits = 5, kGroup = 8;
constexpr std::int64_t kTokens = 70;
constexpr const char* kConfig =
    R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 64,
      "intermediate_size": 96, "max_position_embeddings": 128, "num_attention_heads": 4, "num_hidden_layers": 1,
      "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false,
      "bos_token_id": 0, "eos_token_id": 1, "vocab_size": 50})";

struct Written {
  std::vector<SafetensorsWriter::Item> items;
  std::vector<std::vector<std::uint8_t>> bytes;
  template <typename T>
  void add(const std::string& name, DType dtype, std::vector<std::uint64_t> shape, const std::vector<T>& values) {
    items.push_back({name, dtype, std::move(shape)});
    std::vector<std::uint8_t> raw(values.size() * sizeof(T));
    std::memcpy(raw.data(), values.data(), raw.size());
    bytes.push_back(std::move(raw));
  }
};

void probe(const std::string& out) {
  const ModelConfig config = parse_model_config(kConfig, "probe");
  const kernels::RopeTable rope = kernels::rope_table(config.head_dim, config.rope_theta, config.rope_linear_factor, 128);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  Written written;
  Block block;
  const std::vector<LinearShape> linears = block_linears(config, 0);
  for (std::size_t i = 0; i < linears.size(); ++i) {
    const LinearShape& linear = linears[i];
    const AdditiveTileShape shape{linear.outputs, linear.inputs, kCodebooks, kBits, kGroup};
    const std::size_t sixteens = std::size_t{shape.panels()} * shape.groups() * kCodebooks;
    std::vector<std::uint16_t> wide(sixteens * 16);
    for (std::uint16_t& code : wide) code = static_cast<std::uint16_t>(random() % (1u << kBits));
    std::vector<std::uint8_t> codebooks(shape.codebook_bytes()), chunk(shape.bytes());
    const auto put = [&](std::uint8_t* to, float value) {
      const std::uint16_t half = kernels::f32_to_f16(value);
      std::memcpy(to, &half, 2);
    };
    for (std::size_t e = 0; e < codebooks.size(); e += 2) put(codebooks.data() + e, normal(random));
    kernels::narrow_codes(wide.data(), static_cast<std::int64_t>(sixteens), kBits, chunk.data());
    for (std::uint32_t row = 0; row < shape.panels() * 16; ++row)
      put(chunk.data() + shape.code_bytes() + 2 * row, row < linear.outputs ? 0.12f + 0.03f * normal(random) : 0.0f);
    block.linears[i] = Linear::additive(linear.outputs, linear.inputs, shape, shape.panels() * 16, codebooks);
    block.linears[i].set_tile(0, chunk);
    std::vector<std::int32_t> codes;  // [outputs][groups][codebooks]
    for (std::uint32_t row = 0; row < linear.outputs; ++row)
      for (std::uint32_t j = 0; j < shape.groups(); ++j)
        for (std::uint32_t m = 0; m < kCodebooks; ++m)
          codes.push_back(wide[((row / 16 * shape.groups() + j) * kCodebooks + m) * 16 + row % 16]);
    written.add("codes." + std::to_string(i), DType::i32, {linear.outputs, shape.groups(), kCodebooks}, codes);
  }
  for (std::uint32_t c = 0; c < config.hidden_size; ++c) {
    block.attention_norm.push_back(1 + 0.2f * normal(random));
    block.mlp_norm.push_back(1 + 0.2f * normal(random));
  }
  std::vector<float> x, target;
  for (std::int64_t i = 0; i < kTokens * config.hidden_size; ++i) {
    x.push_back(normal(random));
    target.push_back(normal(random));
  }
  const kernels::ConstMatrixView x_view(x.data(), kTokens, config.hidden_size), target_view(target.data(), kTokens, config.hidden_size);
  const auto backend = kernels::make_cpu_backend({});
  TrainedBlock trained(*backend, config, rope, block);
  std::vector<double> units(TrainedBlock::kTensors, 0), largest(units.size(), 0);
  std::vector<std::int64_t> sums(trained.parameters().size(), 0);
  trained.add_gradient(x_view, target_view, 1.0, units, sums, largest);  // measures
  for (std::size_t k = 0; k < units.size(); ++k) units[k] = std::exp2(40 - std::ceil(std::log2(largest[k])));
  const double error = trained.add_gradient(x_view, target_view, 1.0, units, sums, largest);
  for (std::size_t k = 0; k < TrainedBlock::kTensors; ++k) {
    const TrainedBlock::Tensor& tensor = trained.tensors()[k];
    std::vector<float> values(trained.parameters().begin() + static_cast<std::ptrdiff_t>(tensor.begin),
                              trained.parameters().begin() + static_cast<std::ptrdiff_t>(tensor.begin + tensor.count));
    std::vector<double> gradient;
    for (std::size_t i = tensor.begin; i < tensor.begin + tensor.count; ++i) gradient.push_back(static_cast<double>(sums[i]) / units[k]);
    const std::vector<std::uint64_t> shape = k < 2 * kBlockLinears && k % 2 == 0
                                                 ? std::vector<std::uint64_t>{kCodebooks, 1u << kBits, kGroup}
                                                 : std::vector<std::uint64_t>{tensor.count};
    written.add("value." + std::to_string(k), DType::f32, shape, values);
    written.add("gradient." + std::to_string(k), DType::f64, shape, gradient);
  }
  written.add("x", DType::f32, {kTokens, config.hidden_size}, x);
  written.add("target", DType::f32, {kTokens, config.hidden_size}, target);
  written.add("error", DType::f64, {1}, std::vector<double>{error});
  SafetensorsWriter writer(out, written.items, {});
  for (const auto& raw : written.bytes) writer.append(raw);
  writer.finish();
}

}  // namespace
}  // namespace quench::worker

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "gradient_probe OUT.safetensors\n");
    return 2;
  }
  quench::worker::probe(argv[1]);
  return 0;
}
