// gradient_probe OUT.safetensors: a random block of codebook entries, one sequence, and the gradient of the summed squared
// error for every parameter, for block_gradient.py to hold against PyTorch's.
// gradient_probe OUT.safetensors MODEL: the same of such blocks in place of the model's, two sequences, and the mean divergence
// from what the model itself says.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>

#include "schemas/safetensors.h"
#include "cluster/collective/local.h"
#include "worker/quantize/aqlm/block_gradient.h"
#include "worker/quantize/aqlm/end_to_end.h"
#include "worker/quantize/no_sink.h"

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

// Its codes are written as "codes.0" … behind `prefix`.
Block random_block(const ModelConfig& config, const std::string& prefix, std::mt19937& random, Written& written) {
  std::normal_distribution<float> normal;
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
    written.add(prefix + "codes." + std::to_string(i), DType::i32, {linear.outputs, shape.groups(), kCodebooks}, codes);
  }
  for (std::uint32_t c = 0; c < config.hidden_size; ++c) {
    block.attention_norm.push_back(1 + 0.2f * normal(random));
    block.mlp_norm.push_back(1 + 0.2f * normal(random));
  }
  return block;
}

void write(const std::string& out, const Written& written) {
  SafetensorsWriter writer(out, written.items, {});
  for (const auto& raw : written.bytes) writer.append(raw);
  writer.finish();
}

// Tensor k of a block, its values and the gradient.
void add_tensor(const std::string& name, std::size_t k, std::span<const float> values, std::span<const std::int64_t> sums, double unit,
                Written& written) {
  std::vector<double> gradient;
  for (const std::int64_t sum : sums) gradient.push_back(static_cast<double>(sum) / unit);
  const std::vector<std::uint64_t> shape = k < 2 * kBlockLinears && k % 2 == 0
                                               ? std::vector<std::uint64_t>{kCodebooks, 1u << kBits, kGroup}
                                               : std::vector<std::uint64_t>{values.size()};
  written.add("value." + name, DType::f32, shape, std::vector<float>(values.begin(), values.end()));
  written.add("gradient." + name, DType::f64, shape, gradient);
}

void probe(const std::string& out) {
  const ModelConfig config = parse_model_config(kConfig, "probe");
  const kernels::RopeTable rope = kernels::rope_table(config.head_dim, config.rope_theta, config.rope_linear_factor, 128);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  Written written;
  const Block block = random_block(config, "", random, written);
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
    add_tensor(std::to_string(k), k, std::span(trained.parameters()).subspan(tensor.begin, tensor.count),
               std::span(sums).subspan(tensor.begin, tensor.count), units[k], written);
  }
  written.add("x", DType::f32, {kTokens, config.hidden_size}, x);
  written.add("target", DType::f32, {kTokens, config.hidden_size}, target);
  written.add("error", DType::f64, {1}, std::vector<double>{error});
  write(out, written);
}

void probe_model(const std::string& out, const std::string& directory) {
  const auto source = open_model_directory(directory);
  const ModelConfig& config = source->config();
  const kernels::RopeTable rope = kernels::rope_table(config.head_dim, config.rope_theta, config.rope_linear_factor, kTokens);
  std::mt19937 random(1);
  Written written;
  std::vector<Block> blocks;
  for (std::uint32_t layer = 0; layer < config.layers; ++layer)
    blocks.push_back(random_block(config, std::to_string(layer) + ".", random, written));
  CalibrationSet set;
  set.length = kTokens;
  std::vector<std::int32_t> tokens;
  for (int s = 0; s < 2; ++s) {
    std::vector<TokenId>& sequence = set.sequences.emplace_back();
    for (std::int64_t t = 0; t < kTokens; ++t) sequence.push_back(static_cast<TokenId>(random() % config.vocab_size));
    tokens.insert(tokens.end(), sequence.begin(), sequence.end());
  }
  const auto backend = kernels::make_cpu_backend({});
  const auto gang = cluster::make_local_collective();
  NoSink sink;
  const GangContext context{*backend, *gang, *source, sink};
  TunedModel model(context, rope, set, std::move(blocks));
  const std::vector<std::uint32_t> batch = {0, 1};
  std::vector<std::int32_t> exponents(model.tensors().size(), -1000);  // nothing is known of them
  std::vector<double> units(exponents.size());
  std::vector<std::int64_t> sums(model.parameters().size());
  model.gradient(batch, exponents, units, sums);
  for (std::size_t k = 0; k < units.size(); ++k) {
    const TrainedBlock::Tensor& tensor = model.tensors()[k];
    const std::size_t in_block = k % TrainedBlock::kTensors;
    add_tensor(std::to_string(k / TrainedBlock::kTensors) + "." + std::to_string(in_block), in_block,
               std::span(model.parameters()).subspan(tensor.begin, tensor.count), std::span(sums).subspan(tensor.begin, tensor.count), units[k],
               written);
  }
  written.add("tokens", DType::i32, {2, kTokens}, tokens);
  written.add("divergence", DType::f64, {1}, std::vector<double>{model.validation_error(0)});
  write(out, written);
}

}  // namespace
}  // namespace quench::worker

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "gradient_probe OUT.safetensors [MODEL]\n");
    return 2;
  }
  if (argc == 2)
    quench::worker::probe(argv[1]);
  else
    quench::worker::probe_model(argv[1], argv[2]);
  return 0;
}
