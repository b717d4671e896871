#include "schemas/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <numeric>
#include <sstream>

#include "schemas/artifact.h"
#include "schemas/error.h"
#include "schemas/packed_layout.h"
#include "schemas/safetensors.h"

namespace quench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::filesystem::path kFixtures = std::filesystem::path(QUENCH_SOURCE_DIR) / "tests/fixtures";

ModelConfig parse_file(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  return parse_model_config(text.str(), file.string());
}

TEST(ModelConfig, KeysOfTransformers4And5GiveOneConfig) {
  ModelConfig expected;
  expected.hidden_size = 204;
  expected.intermediate_size = 344;
  expected.layers = 3;
  expected.heads = 6;
  expected.kv_heads = 2;
  expected.head_dim = 40;
  expected.vocab_size = 515;
  expected.max_positions = 2048;
  expected.norm_eps = 1e-6;
  expected.rope_theta = 100000;
  expected.rope_linear_factor = 4;
  expected.eos_ids = {1};
  expected.bos_id = 0;
  EXPECT_EQ(read_model_config(kFixtures / "odd_llama"), expected);
  EXPECT_EQ(parse_file(kFixtures / "odd_llama/config_transformers5.json"), expected);
  expected.rope_theta = 10000;
  expected.rope_linear_factor = 1;
  EXPECT_EQ(parse_file(kFixtures / "odd_llama/config_plain_rope.json"), expected);
}

TEST(ModelConfig, TiedHead) {
  const ModelConfig config = read_model_config(kFixtures / "stories260k");
  EXPECT_TRUE(config.tied_head);
  EXPECT_EQ(outer_tensors(config).size(), 2u);
}

// The keys as deepseek-coder-6.7b-base has them: no head_dim, integral theta, "type" in rope_scaling.
TEST(ModelConfig, DeepSeekCoder) {
  const ModelConfig config = parse_model_config(R"({
    "architectures": ["LlamaForCausalLM"], "bos_token_id": 32013, "eos_token_id": 32014, "hidden_act": "silu",
    "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 11008, "max_position_embeddings": 16384,
    "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
    "pretraining_tp": 1, "rms_norm_eps": 1e-06, "rope_scaling": {"factor": 4.0, "type": "linear"},
    "rope_theta": 100000, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true,
    "vocab_size": 32256})",
                                                "config.json");
  EXPECT_EQ(config.head_dim, 128u);
  EXPECT_EQ(config.rope_theta, 100000);
  EXPECT_EQ(config.rope_linear_factor, 4);
  EXPECT_THAT(config.eos_ids, ElementsAre(32014));
}

// A config that is right, with `keys` in place of what they name.
std::string config_with(const std::string& keys) {
  std::string text = "{";
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"architectures", "[\"LlamaForCausalLM\"]"},
                                                        {"hidden_size", "64"},
                                                        {"intermediate_size", "128"},
                                                        {"num_hidden_layers", "2"},
                                                        {"num_attention_heads", "4"},
                                                        {"vocab_size", "100"}})
    if (keys.find("\"" + key + "\"") == std::string::npos) text += "\"" + key + "\": " + value + ", ";
  return text + (keys.empty() ? "\"use_cache\": true" : keys) + "}";
}

TEST(ModelConfig, LeftOutKeysHaveTransformersDefaults) {
  const ModelConfig config = parse_model_config(config_with(""), "config.json");
  EXPECT_EQ(config.kv_heads, 4u);
  EXPECT_EQ(config.head_dim, 16u);
  EXPECT_EQ(config.max_positions, 2048u);
  EXPECT_EQ(config.norm_eps, 1e-6);
  EXPECT_EQ(config.rope_theta, 10000);
  EXPECT_FALSE(config.tied_head);
  EXPECT_THAT(config.eos_ids, ElementsAre());
  EXPECT_EQ(config.bos_id, -1);
}

TEST(ModelConfig, EosMayBeAListOrNull) {
  EXPECT_THAT(parse_model_config(config_with("\"eos_token_id\": [2, 5]"), "c").eos_ids, ElementsAre(2, 5));
  EXPECT_THAT(parse_model_config(config_with("\"eos_token_id\": null"), "c").eos_ids, ElementsAre());
}

TEST(ModelConfig, ModelTypeStandsInForArchitectures) {
  EXPECT_NO_THROW(parse_model_config(config_with(R"("architectures": null, "model_type": "llama")"), "c"));
}

TEST(ModelConfig, Qwen2HasBiasesOfQkvAndTransformersDefaults) {
  const ModelConfig config = parse_model_config(
      config_with(R"("architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "tie_word_embeddings": true,
                     "use_sliding_window": false, "sliding_window": 32768, "max_window_layers": 28, "num_key_value_heads": 2)"),
      "config.json");
  EXPECT_EQ(config.family, ModelFamily::qwen2);
  EXPECT_EQ(config.norm_eps, 1e-6);
  EXPECT_EQ(config.sliding_window, 0u);
  EXPECT_TRUE(config.tied_head && config.qkv_bias && config.gated_mlp);
  EXPECT_FALSE(config.output_bias || config.mlp_bias || config.layer_norm);
  std::vector<std::string> names;
  for (const BlockVector& vector : block_vectors(config, 1)) names.push_back(vector.tensor + " " + std::to_string(vector.size));
  EXPECT_THAT(names, ElementsAre("model.layers.1.input_layernorm.weight 64", "model.layers.1.post_attention_layernorm.weight 64",
                                 "model.layers.1.self_attn.q_proj.bias 64", "model.layers.1.self_attn.k_proj.bias 32",
                                 "model.layers.1.self_attn.v_proj.bias 32"));
}

TEST(ModelConfig, Starcoder2HasLayerNormsBiasesAndAWindow) {
  const ModelConfig config = parse_model_config(
      config_with(R"("architectures": ["Starcoder2ForCausalLM"], "model_type": "starcoder2", "hidden_act": "gelu_pytorch_tanh",
                     "norm_type": "layer_norm", "mlp_type": "default", "sliding_window": 4096, "use_bias": true)"),
      "config.json");
  EXPECT_EQ(config.family, ModelFamily::starcoder2);
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_EQ(config.sliding_window, 4096u);
  EXPECT_TRUE(config.tied_head && config.qkv_bias && config.output_bias && config.mlp_bias && config.layer_norm);
  EXPECT_FALSE(config.gated_mlp);
  const std::vector<LinearShape> linears = block_linears(config, 0);
  ASSERT_EQ(linears.size(), 6u);
  EXPECT_EQ(linears[4].tensor, "model.layers.0.mlp.c_fc.weight");
  EXPECT_EQ(linears[4].role, kUp);
  EXPECT_EQ(linears[5].role, kDown);
  EXPECT_EQ(block_vectors(config, 0).size(), 10u);
  EXPECT_EQ(outer_tensors(config).at(2).name, "model.norm.bias");
  EXPECT_FALSE(parse_model_config(config_with(R"("architectures": ["Starcoder2ForCausalLM"], "hidden_act": "gelu_pytorch_tanh",
                                                 "use_bias": false, "sliding_window": null, "tie_word_embeddings": false)"),
                                  "c")
                   .qkv_bias);
}

struct BadConfig {
  const char* name;
  std::string json;
  std::vector<std::string> parts;
  friend void PrintTo(const BadConfig& bad, std::ostream* out) { *out << bad.name; }
};
class BadModelConfig : public testing::TestWithParam<BadConfig> {};

TEST_P(BadModelConfig, IsRefusedByKey) {
  try {
    parse_model_config(GetParam().json, "dir/config.json");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_THAT(error.what(), testing::StartsWith("dir/config.json: "));
    for (const std::string& part : GetParam().parts) EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

const std::vector<BadConfig> kBadConfigs = {
    {"BrokenJson", "{\"hidden_size\": ", {"line 1", "unexpected end"}},
    {"List", "[]", {"found a list; expected an object"}},
    {"DuplicateKey", config_with("\"vocab_size\": 1, \"vocab_size\": 2"), {"/vocab_size", "given twice"}},
    {"Architecture",
     config_with("\"architectures\": [\"MistralForCausalLM\"]"),
     {"\"architectures\": found \"MistralForCausalLM\"", "LlamaForCausalLM"}},
    {"ContradictingFamilies",
     config_with("\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": \"llama\""),
     {"\"model_type\": found \"llama\", but \"architectures\" says Qwen2ForCausalLM; expected \"qwen2\""}},
    {"Qwen2Windows",
     config_with("\"architectures\": [\"Qwen2ForCausalLM\"], \"use_sliding_window\": true"),
     {"\"use_sliding_window\": found true"}},
    {"Qwen2LayerTypes",
     config_with("\"architectures\": [\"Qwen2ForCausalLM\"], \"layer_types\": [\"full_attention\", \"sliding_attention\"]"),
     {"\"layer_types\": found \"sliding_attention\"; expected \"full_attention\""}},
    {"Qwen2Yarn",
     config_with("\"architectures\": [\"Qwen2ForCausalLM\"], \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0}"),
     {"found \"yarn\"; known: default, linear"}},
    {"Starcoder2Silu",
     config_with("\"architectures\": [\"Starcoder2ForCausalLM\"], \"hidden_act\": \"silu\""),
     {"\"hidden_act\": found \"silu\"; only gelu_pytorch_tanh"}},
    {"Starcoder2Norm",
     config_with("\"architectures\": [\"Starcoder2ForCausalLM\"], \"norm_type\": \"rms_norm\""),
     {"\"norm_type\": found \"rms_norm\"; only layer_norm"}},
    {"Starcoder2Window",
     config_with("\"architectures\": [\"Starcoder2ForCausalLM\"], \"sliding_window\": 0"),
     {"\"sliding_window\": found 0; expected an integer from 1"}},
    {"Starcoder2Bias",
     config_with("\"architectures\": [\"Starcoder2ForCausalLM\"], \"use_bias\": \"yes\""),
     {"\"use_bias\": found \"yes\"; expected true or false"}},
    {"ArchitectureText",
     config_with("\"architectures\": \"LlamaForCausalLM\""),
     {"expected a list of names"}},
    {"NoArchitecture", config_with("\"architectures\": []"), {"\"model_type\": missing"}},
    {"ModelType",
     config_with("\"architectures\": [], \"model_type\": \"gpt2\""),
     {"\"model_type\": found \"gpt2\""}},
    {"NoHiddenSize",
     R"({"architectures": ["LlamaForCausalLM"]})",
     {"\"hidden_size\": missing; expected an integer from 1"}},
    {"ZeroLayers", config_with("\"num_hidden_layers\": 0"), {"\"num_hidden_layers\": found 0"}},
    {"NegativeVocabulary", config_with("\"vocab_size\": -5"), {"\"vocab_size\": found -5"}},
    {"AbsurdHiddenSize",
     config_with("\"hidden_size\": 1000000000"),
     {"\"hidden_size\": found 1000000000; expected an integer from 1 to 262144"}},
    {"AbsurdLayers", config_with("\"num_hidden_layers\": 100000"), {"\"num_hidden_layers\""}},
    {"FractionalHeads", config_with("\"num_attention_heads\": 4.5"), {"\"num_attention_heads\": found 4.5"}},
    {"TextForNumber", config_with("\"vocab_size\": \"100\""), {"\"vocab_size\": found \"100\""}},
    {"KvHeadsDoNotDivide",
     config_with("\"num_key_value_heads\": 3"),
     {"\"num_key_value_heads\": found 3, which does not divide the 4"}},
    {"HeadsDoNotDivideWidth",
     config_with("\"num_attention_heads\": 7"),
     {"\"hidden_size\": found 64", "\"head_dim\""}},
    {"OddHead", config_with("\"head_dim\": 15"), {"\"head_dim\": found 15", "even"}},
    {"WideHeads",
     config_with("\"head_dim\": 4096, \"num_attention_heads\": 4096, \"num_key_value_heads\": 1"),
     {"wider than 262144"}},
    {"NegativeEps", config_with("\"rms_norm_eps\": -1e-5"), {"\"rms_norm_eps\""}},
    {"ZeroTheta",
     config_with("\"rope_theta\": 0"),
     {"\"rope_theta\": found 0; expected a number from 1 to 1e+12"}},
    {"DynamicRope",
     config_with(R"("rope_scaling": {"type": "dynamic", "factor": 2.0})"),
     {"\"rope_scaling.type\": found \"dynamic\"; known: default, linear"}},
    {"Llama3Rope",
     config_with(R"("rope_parameters": {"rope_type": "llama3", "factor": 8.0})"),
     {"\"rope_parameters.rope_type\": found \"llama3\""}},
    {"RopeWithoutFactor",
     config_with(R"("rope_scaling": {"type": "linear"})"),
     {"\"rope_scaling.factor\": missing"}},
    {"RopeFactorZero",
     config_with(R"("rope_scaling": {"type": "linear", "factor": 0.0})"),
     {"\"rope_scaling.factor\": found 0.0"}},
    {"RopeNumber", config_with("\"rope_scaling\": 4"), {"\"rope_scaling\": found 4; expected an object"}},
    {"AttentionBias",
     config_with("\"attention_bias\": true"),
     {"\"attention_bias\": found true", "not supported"}},
    {"MlpBias", config_with("\"mlp_bias\": true"), {"\"mlp_bias\": found true"}},
    {"Gelu", config_with("\"hidden_act\": \"gelu\""), {"\"hidden_act\": found \"gelu\"; only silu"}},
    {"QuantizedAlready",
     config_with("\"quantization_config\": {\"bits\": 4}"),
     {"\"quantization_config\"", "original weights"}},
    {"EosBeyondVocabulary",
     config_with("\"eos_token_id\": 100"),
     {"\"eos_token_id\": found 100; expected a token id from 0 to 99"}},
    {"EosText", config_with("\"eos_token_id\": [\"</s>\"]"), {"\"eos_token_id\": found \"</s>\""}},
    {"BosNegative", config_with("\"bos_token_id\": -1"), {"\"bos_token_id\": found -1"}},
    {"TooLarge", std::string((1 << 20) + 1, ' '), {"larger than 1048576 bytes"}},
};

INSTANTIATE_TEST_SUITE_P(, BadModelConfig, testing::ValuesIn(kBadConfigs),
                         [](const auto& instance) { return instance.param.name; });

TEST(ModelConfig, MissingDirectoryAndFileAreNamed) {
  try {
    read_model_config(kFixtures / "absent");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("absent: not a directory"));
  }
  try {
    read_model_config(kFixtures / "jobs");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("jobs/config.json: no such file"));
  }
}

// What the config says a model has is what a real model's files hold.
TEST(ModelTensors, NamesAndShapesMatchAModelsFiles) {
  for (const char* model : {"odd_llama", "stories260k"}) {
    const ModelConfig config = read_model_config(kFixtures / model);
    auto locations = locate_tensors(kFixtures / model);
    const auto take = [&](const std::string& name, const std::vector<std::uint64_t>& shape) {
      ASSERT_TRUE(locations.contains(name)) << name;
      EXPECT_EQ(locations.at(name).entry.shape, shape) << name;
      locations.erase(name);
    };
    for (const NamedShape& tensor : outer_tensors(config)) take(tensor.name, tensor.shape);
    for (std::uint32_t layer = 0; layer < config.layers; ++layer) {
      for (const LinearShape& linear : block_linears(config, layer))
        take(linear.tensor, {linear.outputs, linear.inputs});
      for (const BlockVector& vector : block_vectors(config, layer)) take(vector.tensor, {vector.size});
    }
    EXPECT_TRUE(locations.empty()) << model << ": " << locations.begin()->first;
  }
}

TEST(BlockLinears, StagesShareInputsAndRunInOrder) {
  const auto linears = block_linears(read_model_config(kFixtures / "odd_llama"), 2);
  std::vector<std::string> names;
  std::vector<std::uint32_t> stages;
  for (const LinearShape& linear : linears) {
    names.push_back(linear.short_name);
    stages.push_back(linear.stage);
  }
  EXPECT_THAT(names, ElementsAre("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                 "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"));
  EXPECT_THAT(stages, ElementsAre(0, 0, 0, 1, 2, 2, 3));
  EXPECT_EQ(linears[1].tensor, "model.layers.2.self_attn.k_proj.weight");
}

TEST(TileRows, SuitEveryShape) {
  for (const std::uint32_t outputs : {1u, 15u, 16u, 63u, 64u, 80u, 172u, 1024u, 4096u, 22016u, 262144u}) {
    for (const std::uint32_t inputs : {1u, 40u, 64u, 4096u, 22016u, 262144u}) {
      const std::uint32_t rows = tile_rows(outputs, inputs);
      SCOPED_TRACE(std::to_string(outputs) + " x " + std::to_string(inputs) + ": " + std::to_string(rows));
      EXPECT_EQ(rows % kPanelRows, 0u);
      EXPECT_GE(rows, kPanelRows);
      EXPECT_LE(rows, 256u);
      if (outputs >= 64) {
        EXPECT_GE((outputs + rows - 1) / rows, 4u) << "four ranks have no share each";
      }
      for (const std::int32_t group_size : {-1, 1, 32, 128}) {
        const PackedTileShape tile{.rows = rows, .inputs = inputs, .bits = 8, .group_size = group_size};
        EXPECT_LE(tile.bytes(), kChunkBytesMax) << "group size " << group_size;
      }
    }
  }
}

}  // namespace
}  // namespace quench
