#include "coordinator/export/gguf.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "coordinator/export/carried_files.h"
#include "coordinator/export/gguf_tokenizer.h"
#include "coordinator/export/linear_tiles.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kF32Type = 0, kF16Type = 1;
constexpr std::uint64_t kAlignment = 32;

std::uint64_t aligned(std::uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// "model.layers.3.mlp.down_proj.weight" is "blk.3.ffn_down.weight".
std::string gguf_name(const std::string& name) {
  static constexpr std::pair<std::string_view, const char*> kOuter[] = {
      {"model.embed_tokens", "token_embd"}, {"model.norm", "output_norm"}, {"lm_head", "output"}};
  static constexpr std::pair<std::string_view, const char*> kOfBlock[] = {
      {"input_layernorm", "attn_norm"},  {"post_attention_layernorm", "ffn_norm"}, {"self_attn.q_proj", "attn_q"},
      {"self_attn.k_proj", "attn_k"},    {"self_attn.v_proj", "attn_v"},           {"self_attn.o_proj", "attn_output"},
      {"mlp.gate_proj", "ffn_gate"},     {"mlp.up_proj", "ffn_up"},                {"mlp.down_proj", "ffn_down"},
      {"mlp.c_fc", "ffn_up"},            {"mlp.c_proj", "ffn_down"}};
  const std::size_t last_dot = name.rfind('.');
  const std::string stem = name.substr(0, last_dot), kind = last_dot == std::string::npos ? "" : name.substr(last_dot);
  if (kind == ".weight" || kind == ".bias") {
    for (const auto& [ours, theirs] : kOuter)
      if (stem == ours) return theirs + kind;
    constexpr std::string_view kStem = "model.layers.";
    if (stem.starts_with(kStem))
      for (const auto& [ours, theirs] : kOfBlock)
        if (const std::size_t dot = stem.find('.', kStem.size()); dot != std::string::npos && stem.substr(dot + 1) == ours)
          return "blk." + stem.substr(kStem.size(), dot - kStem.size()) + "." + theirs + kind;
  }
  throw Error(ErrorCode::bad_input, name + " has no name in llama.cpp: choose --format fp16");
}

struct Output {
  const TensorRecord* tensor = nullptr;
  std::uint32_t type = kF32Type;
  std::uint64_t row_bytes = 0, bytes = 0;
  std::uint32_t heads = 0;  // of q and k, whose rows are reordered; else 0
};

Output output_of(const TensorRecord& tensor, const ModelConfig& config, GgufKind kind) {
  check_tensor_record(tensor);
  Output output{&tensor, kF32Type, 4, 0, 0};
  std::uint64_t rows = 1;
  if (tensor.shape.size() == 2) {
    const bool linear = tensor.name.starts_with("model.layers.");
    rows = tensor.shape[0];
    if (!linear || kind == GgufKind::f16) {
      output.type = kF16Type;
      output.row_bytes = tensor.shape[1] * 2;
    } else {
      output.type = static_cast<std::uint32_t>(kind);
      output.row_bytes = block_row_bytes(tensor, kind);
    }
    if (config.family == ModelFamily::llama) {
      if (tensor.name.ends_with("q_proj.weight")) output.heads = config.heads;
      if (tensor.name.ends_with("k_proj.weight")) output.heads = config.kv_heads;
    }
    if (output.heads != 0 && rows != std::uint64_t{output.heads} * config.head_dim)
      throw Error(ErrorCode::corrupt, tensor.name + " does not have the heads of config.json");
  } else if (tensor.shape.size() == 1) {
    output.row_bytes = tensor.shape[0] * 4;
  } else {
    throw Error(ErrorCode::bad_input, tensor.name + " is no vector and no matrix: choose --format fp16");
  }
  output.bytes = rows * output.row_bytes;
  return output;
}

// Of Llama, llama.cpp rotates neighbouring rows of a head, Hugging Face's order rows half a head apart.
Bytes in_rotary_order(const Bytes& rows, std::uint64_t row_bytes, std::uint32_t heads) {
  const std::uint64_t count = rows.size() / row_bytes, dim = count / heads;
  Bytes ordered(rows.size());
  for (std::uint64_t to = 0; to < count; ++to) {
    const std::uint64_t head = to / dim, in_head = to % dim, from = head * dim + in_head % 2 * (dim / 2) + in_head / 2;
    std::memcpy(ordered.data() + to * row_bytes, rows.data() + from * row_bytes, row_bytes);
  }
  return ordered;
}

class GgufFile {
 public:
  explicit GgufFile(fs::path path) : path_(std::move(path)), out_(path_, std::ios::binary | std::ios::trunc) {}
  void append(std::span<const std::uint8_t> bytes) {
    out_.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!out_) throw errno_error(ErrorCode::failed, "cannot write " + path_.string(), errno);
    written_ += bytes.size();
  }
  void pad() { append(Bytes(aligned(written_) - written_)); }
  std::uint64_t written() const { return written_; }
  void finish() {
    out_.flush();
    if (!out_) throw errno_error(ErrorCode::failed, "cannot write " + path_.string(), errno);
  }

 private:
  fs::path path_;
  std::ofstream out_;
  std::uint64_t written_ = 0;
};

void append_tensor(const ArtifactStore& store, const Output& output, GgufKind kind, GgufFile& file) {
  const TensorRecord& tensor = *output.tensor;
  Bytes held;  // of q and k, until all rows are there
  const auto take = [&](const Bytes& bytes) {
    if (output.heads == 0) {
      file.append(bytes);
    } else {
      held.insert(held.end(), bytes.begin(), bytes.end());
    }
  };
  if (output.type == kF32Type) {
    visit_weights(store, tensor, [&](std::span<const float> values) {
      Bytes bytes(values.size() * sizeof(float));
      std::memcpy(bytes.data(), values.data(), bytes.size());
      take(bytes);
    });
  } else if (output.type == kF16Type) {
    visit_weights(store, tensor, [&](std::span<const float> values) { take(rounded(values, DType::f16, tensor.name)); });
  } else {
    const PackedLinear linear(store, tensor);
    if (!linear.groups_in_order())
      throw Error(ErrorCode::bad_input, tensor.name + " cannot be written as " + std::string(name_of(kind)) +
                                            " exactly: its columns are grouped in another order (actOrder): choose --format gguf-f16");
    for (std::size_t index = 0; index < linear.tiles(); ++index) take(encoded_blocks(linear, tensor, linear.tile(index), kind));
  }
  if (output.heads != 0) file.append(in_rotary_order(held, output.row_bytes, output.heads));
}

GgufMetadata metadata_of(const ArtifactStore& store, const Manifest& manifest, const ModelConfig& config, GgufKind kind) {
  GgufMetadata metadata;
  const std::string family(to_string(config.family));  // llama.cpp's names are the same
  const auto key = [&](const char* name) { return family + "." + name; };
  metadata.put_text("general.architecture", family);
  metadata.put_text("general.name", derived_name(manifest.recipe));
  metadata.put_u32("general.file_type", kind == GgufKind::f16 ? 1 : kind == GgufKind::q4_0 ? 2 : kind == GgufKind::q8_0 ? 7 : 14);
  metadata.put_u32("general.quantization_version", 2);
  metadata.put_u32(key("vocab_size"), config.vocab_size);
  metadata.put_u32(key("context_length"),
                   config.sliding_window > 0 ? std::min(config.max_positions, config.sliding_window) : config.max_positions);
  metadata.put_u32(key("embedding_length"), config.hidden_size);
  metadata.put_u32(key("block_count"), config.layers);
  metadata.put_u32(key("feed_forward_length"), config.intermediate_size);
  metadata.put_u32(key("attention.head_count"), config.heads);
  metadata.put_u32(key("attention.head_count_kv"), config.kv_heads);
  metadata.put_u32(key("attention.key_length"), config.head_dim);
  metadata.put_u32(key("attention.value_length"), config.head_dim);
  metadata.put_f32(key(config.layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon"),
                   static_cast<float>(config.norm_eps));
  metadata.put_u32(key("rope.dimension_count"), config.head_dim);
  metadata.put_f32(key("rope.freq_base"), static_cast<float>(config.rope_theta));
  if (config.rope_linear_factor != 1.0) {
    metadata.put_text(key("rope.scaling.type"), "linear");
    metadata.put_f32(key("rope.scaling.factor"), static_cast<float>(config.rope_linear_factor));
  }
  const auto carried = [&](const char* name) { return carried_text(store, manifest, name); };
  put_tokenizer({carried("tokenizer.json"), carried("tokenizer.model"), carried("tokenizer_config.json"), carried("special_tokens_map.json")},
                config, metadata);
  return metadata;
}

}  // namespace

void write_gguf(const ArtifactStore& store, const Manifest& manifest, GgufKind kind, const fs::path& directory) {
  const ModelConfig config = parse_model_config(carried_text(store, manifest, "config.json"), "the artifact's config.json");
  std::vector<Output> outputs;
  for (const TensorRecord& tensor : manifest.tensors) outputs.push_back(output_of(tensor, config, kind));
  const GgufMetadata metadata = metadata_of(store, manifest, config, kind);
  GgufFields head;
  head.u32(0x46554747);  // "GGUF"
  head.u32(3);
  head.u64(outputs.size());
  head.u64(metadata.count());
  GgufFields infos;
  std::uint64_t offset = 0;
  for (const Output& output : outputs) {
    const TensorRecord& tensor = *output.tensor;
    infos.text(gguf_name(tensor.name));
    infos.u32(static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto extent = tensor.shape.rbegin(); extent != tensor.shape.rend(); ++extent) infos.u64(*extent);
    infos.u32(output.type);
    infos.u64(offset);
    offset += aligned(output.bytes);
  }
  GgufFile file(directory / "model.gguf");
  file.append(head.bytes());
  file.append(metadata.bytes());
  file.append(infos.bytes());
  file.pad();
  for (const Output& output : outputs) {
    const std::uint64_t before = file.written();
    append_tensor(store, output, kind, file);
    QUENCH_CHECK(file.written() - before == output.bytes, file.written() - before, output.bytes);
    file.pad();
  }
  file.finish();
}

}  // namespace quench::coordinator
