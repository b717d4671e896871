// A config.json as a value, checked: LlamaForCausalLM as CodeLlama and DeepSeek-Coder use it, Qwen2ForCausalLM (Qwen2.5-Coder)
// and Starcoder2ForCausalLM, in the keys of transformers 4 and of transformers 5. What families differ in is said by fields;
// only errors and exports ask for the family itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace quench {

enum class ModelFamily : std::uint8_t { llama, qwen2, starcoder2 };

struct ModelConfig {
  ModelFamily family = ModelFamily::llama;
  std::uint32_t hidden_size = 0;
  std::uint32_t intermediate_size = 0;
  std::uint32_t layers = 0;
  std::uint32_t heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t vocab_size = 0;
  std::uint32_t max_positions = 0;
  double norm_eps = 1e-6;
  double rope_theta = 10000.0;
  double rope_linear_factor = 1.0;  // positions are divided by it
  bool tied_head = false;
  bool layer_norm = false;   // norms take the mean off and have a bias; else they are RMS norms
  bool gated_mlp = true;     // down(silu(gate(x)) * up(x)); else down(gelu(up(x))) with the tanh form of gelu
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  std::uint32_t sliding_window = 0;  // keys that a token sees, itself among them; 0: all before it
  std::vector<std::int32_t> eos_ids;  // may be empty
  std::int32_t bos_id = -1;           // -1: none
  bool operator==(const ModelConfig&) const = default;
};

// Parses and checks. `origin` names the file in errors. Throws Error(bad_input) naming the key, what
// was found and what was expected: another architecture, absurd or inconsistent sizes, an unknown
// rope type, a setting of the family that we do not support, broken JSON, duplicate keys.
ModelConfig parse_model_config(std::string_view json, const std::string& origin);
ModelConfig read_model_config(const std::filesystem::path& model_dir);

std::string_view to_string(ModelFamily family);

// What a linear is to its block. A block without a gate has no kGate.
enum BlockLinear : std::size_t { kQ, kK, kV, kO, kGate, kUp, kDown, kBlockLinears };

// One linear of a block: y = x Wᵀ, W [outputs, inputs].
struct LinearShape {
  std::string tensor;      // "model.layers.3.mlp.down_proj.weight"
  std::string short_name;  // "mlp.down_proj"
  std::uint32_t outputs = 0;
  std::uint32_t inputs = 0;
  // Linears with equal stage share their inputs, hence their Hessian; stages run in order
  // (true-sequential): 0 q,k,v; 1 o; 2 gate,up; 3 down.
  std::uint32_t stage = 0;
  BlockLinear role = kQ;
};

// The linears of block `layer`, in the fixed order q k v o gate up down.
std::vector<LinearShape> block_linears(const ModelConfig& config, std::uint32_t layer);

// A block's tensor of one dimension: of a norm, or the bias of a linear. Most methods leave them as they are.
struct BlockVector {
  enum Part : std::uint8_t { attention_norm, attention_norm_bias, mlp_norm, mlp_norm_bias, linear_bias };
  std::string tensor;
  std::uint32_t size = 0;
  Part part = attention_norm;
  BlockLinear linear = kQ;  // whose bias it is
};
// The norms' in the order of Part, then the linears' in the order of block_linears.
std::vector<BlockVector> block_vectors(const ModelConfig& config, std::uint32_t layer);

struct NamedShape {
  std::string name;
  std::vector<std::uint64_t> shape;
};
// Tensors outside the blocks: embedding, final norm (and its bias), and the head unless tied.
std::vector<NamedShape> outer_tensors(const ModelConfig& config);

// Files of a model's directory that an artifact carries, so that it can be used without its source.
inline constexpr const char* kCarriedFiles[] = {"config.json",    "generation_config.json", "special_tokens_map.json",
                                                "tokenizer.json", "tokenizer.model",        "tokenizer_config.json"};

// Rows per tile of a quantized linear: the unit of solving, of storing and of resuming. A multiple
// of 16 that depends on the shape alone, so that shards are the same for any number of ranks; a
// tile's payload stays under the 16 MiB chunk limit at 8 bits.
std::uint32_t tile_rows(std::uint32_t outputs, std::uint32_t inputs);
std::uint32_t tile_count(const LinearShape& linear);
// All but the last tile have tile_rows() rows.
std::uint32_t rows_of_tile(const LinearShape& linear, std::uint32_t tile);
// The most rows that one of `ranks` ranks solves when tiles are dealt out in turn.
std::uint32_t rows_of_busiest_rank(const LinearShape& linear, std::uint32_t ranks);

}  // namespace quench
