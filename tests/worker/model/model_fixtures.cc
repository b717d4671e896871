#include "tests/worker/model/model_fixtures.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <numeric>
#include <random>
#include <sstream>
#include <stdexcept>

#include "schemas/packed_layout.h"
#include "tests/kernels/emulated_device.h"

namespace quench::worker::test {

std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(QUENCH_SOURCE_DIR) / "tests/fixtures" / name;
}

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "quench-model-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string read_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw std::runtime_error("cannot open " + file.string());
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

void write_text(const std::filesystem::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  out << text;
  if (!out) throw std::runtime_error("cannot write " + file.string());
}

Reference read_reference(const std::filesystem::path& file) {
  const SafetensorsHeader header = read_safetensors_header(file);
  const std::string bytes = read_text(file);
  const auto ids = [&](const std::string& name) {
    const TensorEntry& entry = header.tensors.at(name);
    std::vector<std::int64_t> wide(entry.bytes / 8);
    std::memcpy(wide.data(), bytes.data() + entry.file_offset, entry.bytes);
    return std::vector<std::int32_t>(wide.begin(), wide.end());
  };
  Reference reference{.input_ids = ids("input_ids"), .greedy_ids = ids("greedy_ids")};
  const TensorEntry& logits = header.tensors.at("logits");
  reference.vocabulary = static_cast<std::int64_t>(logits.shape.at(1));
  reference.logits.resize(logits.bytes / 4);
  std::memcpy(reference.logits.data(), bytes.data() + logits.file_offset, logits.bytes);
  return reference;
}

TestModel read_model(const WeightSource& source) {
  TestModel model;
  for (const NamedShape& named : model_tensors(source.config())) {
    const StoredTensor& stored = source.tensor(named.name);
    TestTensor tensor{stored.dtype, stored.shape, {}};
    if (stored.layout != TensorLayout::raw) {
      tensor = f32_tensor(stored.shape, Linear::load(source, named.name).dequantized());
    } else {
      tensor.bytes.resize(stored.rows() * stored.columns() * dtype_bytes(stored.dtype));
      source.read_bytes(named.name, 0, tensor.bytes);
    }
    model.emplace(named.name, std::move(tensor));
  }
  return model;
}

TestTensor f32_tensor(std::vector<std::uint64_t> shape, const std::vector<float>& values) {
  TestTensor tensor{DType::f32, std::move(shape), std::vector<std::uint8_t>(values.size() * 4)};
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

void write_model(const std::filesystem::path& directory, const std::string& config, const TestModel& model) {
  write_text(directory / "config.json", config);
  std::vector<SafetensorsWriter::Item> items;
  for (const auto& [name, tensor] : model) items.push_back({name, tensor.dtype, tensor.shape});
  SafetensorsWriter writer(directory / "model.safetensors", items, {{"format", "pt"}});
  for (const auto& [name, tensor] : model) writer.append(tensor.bytes);
  writer.finish();
}

std::string tiny_config() {
  return R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": false, "bos_token_id": 0,
    "eos_token_id": 1, "head_dim": 12, "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 56,
    "max_position_embeddings": 64, "mlp_bias": false, "num_attention_heads": 4, "num_hidden_layers": 2,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": false,
    "torch_dtype": "float32", "vocab_size": 50})";
}

std::string qwen2_config() {
  return R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "bos_token_id": null, "eos_token_id": 1,
    "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 56, "max_position_embeddings": 64, "num_attention_heads": 4,
    "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
    "tie_word_embeddings": true, "use_sliding_window": false, "vocab_size": 50})";
}

std::string starcoder2_config() {
  return R"({"architectures": ["Starcoder2ForCausalLM"], "model_type": "starcoder2", "bos_token_id": 0, "eos_token_id": 0,
    "hidden_act": "gelu_pytorch_tanh", "hidden_size": 32, "intermediate_size": 56, "max_position_embeddings": 64,
    "norm_epsilon": 1e-5, "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 4, "rope_theta": 100000.0,
    "sliding_window": 7, "use_bias": true, "vocab_size": 50})";
}

TestModel tiny_model(std::uint32_t seed) { return random_model(tiny_config(), seed); }

TestModel random_model(const std::string& config, std::uint32_t seed) {
  std::mt19937 generator(seed);
  const auto values = [&](const std::vector<std::uint64_t>& shape, float middle) {
    std::size_t count = 1;
    for (const std::uint64_t extent : shape) count *= extent;
    std::vector<float> random(count);
    for (float& value : random)
      value = static_cast<float>(static_cast<double>(generator()) / 4294967296.0 - 0.5) + middle;
    return random;
  };
  TestModel model;
  for (const NamedShape& named : model_tensors(parse_model_config(config, "random"))) {
    const bool is_norm = named.shape.size() == 1 && named.name.ends_with(".weight");
    model.emplace(named.name, f32_tensor(named.shape, values(named.shape, is_norm ? 1.0f : 0.0f)));
  }
  return model;
}

ChunkRef MemoryChunks::put(std::vector<std::uint8_t> bytes) {
  const ChunkRef ref{sha256(bytes), bytes.size()};
  chunks_.emplace(ref.digest, std::move(bytes));
  return ref;
}

ChunkReader MemoryChunks::reader() const {
  return [this](const ChunkRef& ref) {
    const auto found = chunks_.find(ref.digest);
    if (found == chunks_.end()) throw std::runtime_error("no chunk " + ref.digest.hex());
    return found->second;
  };
}

namespace {

// One row tile's chunk from its codes, scales and zeros in rows.
std::vector<std::uint8_t> tile_chunk(const PackedTileShape& shape, const std::uint8_t* codes,
                                     const std::uint16_t* scales, const std::uint8_t* zeros) {
  std::vector<std::uint8_t> chunk(shape.bytes());
  const std::size_t groups = shape.groups();
  for (std::uint32_t panel = 0; panel < shape.panels(); ++panel) {
    const std::uint32_t first = panel * kPanelRows;
    const std::uint32_t rows = std::min(kPanelRows, shape.rows - first);
    kernels::pack_panel(static_cast<int>(shape.bits), codes + std::size_t{first} * shape.inputs, rows,
                        shape.inputs, shape.inputs, chunk.data() + panel * shape.panel_code_bytes());
    for (std::size_t group = 0; group < groups; ++group)
      for (std::uint32_t row = 0; row < kPanelRows; ++row) {
        const std::size_t at = (panel * groups + group) * kPanelRows + row;
        const std::size_t from = (first + row) * groups + group;
        const std::uint16_t scale = row < rows ? scales[from] : std::uint16_t{0x3c00};
        std::memcpy(chunk.data() + shape.code_bytes() + 2 * at, &scale, 2);
        chunk[shape.code_bytes() + shape.scale_bytes() + at] = row < rows ? zeros[from] : std::uint8_t{0};
      }
  }
  return chunk;
}

TensorRecord pack_linear(const WeightSource& source, const LinearShape& linear, kernels::Backend& backend,
                         std::uint32_t bits, std::int32_t group_size, ColumnOrder order,
                         MemoryChunks& chunks) {
  std::vector<float> weights = read_tensor(source, linear.tensor);
  TensorRecord record{.name = linear.tensor,
                      .layout = TensorLayout::packed,
                      .dtype = source.tensor(linear.tensor).dtype,
                      .shape = {linear.outputs, linear.inputs},
                      .bits = bits,
                      .group_size = group_size,
                      .rows_per_tile = 32};
  if (order == ColumnOrder::shuffled) {
    // The same for the linears of a stage, as act-order has it.
    std::vector<std::int32_t> permutation(linear.inputs);
    std::iota(permutation.begin(), permutation.end(), 0);
    std::shuffle(permutation.begin(), permutation.end(), std::mt19937(linear.stage));
    std::vector<float> shuffled(weights.size());
    backend.gather_columns({weights.data(), linear.outputs, linear.inputs}, permutation,
                           {shuffled.data(), linear.outputs, linear.inputs});
    weights = std::move(shuffled);
    std::vector<std::uint8_t> bytes(permutation.size() * 4);
    std::memcpy(bytes.data(), permutation.data(), bytes.size());
    record.permutation = chunks.put(std::move(bytes));
  }
  for (std::uint32_t first = 0; first < linear.outputs; first += record.rows_per_tile) {
    const PackedTileShape shape{std::min(record.rows_per_tile, linear.outputs - first), linear.inputs, bits,
                                group_size};
    std::vector<std::uint8_t> codes(std::size_t{shape.rows} * shape.inputs),
        zeros(std::size_t{shape.rows} * shape.groups());
    std::vector<std::uint16_t> scales(zeros.size());
    backend.round_to_nearest({weights.data() + std::size_t{first} * linear.inputs, shape.rows, linear.inputs},
                             {.bits = static_cast<int>(bits),
                              .group_size = group_size,
                              .kind = kernels::GridKind::asymmetric,
                              .rule = kernels::ScaleRule::range},
                             {.codes = codes.data(), .scales = scales.data(), .zeros = zeros.data()});
    record.chunks.push_back(chunks.put(tile_chunk(shape, codes.data(), scales.data(), zeros.data())));
  }
  return record;
}

}  // namespace

TestArtifact make_artifact(const std::filesystem::path& directory, kernels::Backend& backend,
                           std::uint32_t bits, std::int32_t group_size, ColumnOrder order) {
  const auto source = open_model_directory(directory);
  TestArtifact artifact;
  const std::string config = read_text(directory / "config.json");
  artifact.manifest.files.push_back({"config.json", artifact.chunks.put({config.begin(), config.end()})});
  std::map<std::string, LinearShape> linears;
  for (std::uint32_t layer = 0; bits < 16 && layer < source->config().layers; ++layer)
    for (const LinearShape& linear : block_linears(source->config(), layer))
      linears.emplace(linear.tensor, linear);
  for (const auto& [name, tensor] : read_model(*source)) {
    if (const auto linear = linears.find(name); linear != linears.end()) {
      artifact.manifest.tensors.push_back(
          pack_linear(*source, linear->second, backend, bits, group_size, order, artifact.chunks));
      continue;
    }
    TensorRecord record{
        .name = name, .layout = TensorLayout::raw, .dtype = tensor.dtype, .shape = tensor.shape};
    for (std::size_t begin = 0; begin < tensor.bytes.size(); begin += kRawChunkBytes) {
      const std::size_t end = std::min<std::size_t>(begin + kRawChunkBytes, tensor.bytes.size());
      record.chunks.push_back(artifact.chunks.put({tensor.bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                                                   tensor.bytes.begin() + static_cast<std::ptrdiff_t>(end)}));
    }
    artifact.manifest.tensors.push_back(std::move(record));
  }
  return artifact;
}

std::unique_ptr<kernels::Backend> backend_of(std::string_view isa, int threads) {
  if (isa == "emulated") return kernels::make_emulated_backend(kernels::cuda::Arithmetic::exact);
  return kernels::make_cpu_backend({.threads = threads, .isa = std::string(isa)});
}

std::vector<std::int32_t> greedy(Transformer& transformer, const std::vector<std::int32_t>& prompt,
                                 std::size_t count) {
  SequenceCache cache(transformer.config(), static_cast<std::int64_t>(prompt.size() + count));
  std::vector<std::int32_t> tokens;
  std::span<const std::int32_t> fed = prompt;
  while (tokens.size() < count) {
    const SequenceStep step{&cache, fed};
    std::int32_t next = 0;
    transformer.backend().argmax(transformer.forward({&step, 1}), {&next, 1});
    tokens.push_back(next);
    fed = std::span(tokens).last(1);
  }
  return tokens;
}

std::vector<float> prefill_logits(Transformer& transformer, const std::vector<std::int32_t>& tokens) {
  SequenceCache cache(transformer.config(), static_cast<std::int64_t>(tokens.size()));
  const SequenceStep step{&cache, tokens};
  const kernels::ConstMatrixView logits = transformer.forward({&step, 1}, LogitRows::all);
  return {logits.data, logits.data + logits.rows * logits.cols};
}

}  // namespace quench::worker::test
