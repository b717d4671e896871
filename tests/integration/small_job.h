// A real job small enough to run many times: the 260 K Llama of tests/fixtures, quantized by every
// method, on a few short sequences.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/processes.h"

namespace quench::testing {

inline nlohmann::json small_job() {
  return {{"name", "small"},
          {"model", fixture("stories260k").string()},
          {"quantize",
           {{{"method", "int8"}},
            {{"method", "rtn"}, {"bits", 3}, {"groupSize", 32}},
            {{"method", "gptq"}, {"bits", 4}, {"groupSize", 32}},
            {{"method", "gptq"}, {"bits", 3}, {"groupSize", -1}, {"symmetric", false}, {"actOrder", true}},
            {{"method", "gptq"}, {"bits", 2}, {"groupSize", 16}, {"scaleRule", "search"}}}},
          {"calibration",
           {{"files", {fixture("calibration_python.txt").string()}},
            {"sequences", 7},
            {"length", 40},
            {"seed", 3}}}};
}

// A model of random weights whose linears groups of 8 and 16 divide, with the tokenizer of the 260 K Llama.
inline void write_divisible_model(const std::filesystem::path& directory) {
  constexpr std::uint64_t kHidden = 64, kIntermediate = 96, kLayers = 2, kVocabulary = 512, kKeys = 32;
  std::filesystem::create_directories(directory);
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(fixture("stories260k") / file, directory / file);
  write_text(directory / "config.json",
             nlohmann::json{{"architectures", {"LlamaForCausalLM"}}, {"model_type", "llama"}, {"hidden_act", "silu"},
                            {"hidden_size", kHidden}, {"intermediate_size", kIntermediate}, {"num_hidden_layers", kLayers},
                            {"num_attention_heads", 8}, {"num_key_value_heads", 4}, {"max_position_embeddings", 256},
                            {"rms_norm_eps", 1e-5}, {"rope_theta", 10000.0}, {"tie_word_embeddings", true},
                            {"bos_token_id", 1}, {"eos_token_id", 2}, {"vocab_size", kVocabulary}}
                 .dump());
  std::vector<std::pair<std::string, std::vector<std::uint64_t>>> tensors = {{"model.embed_tokens.weight", {kVocabulary, kHidden}},
                                                                             {"model.norm.weight", {kHidden}}};
  for (std::uint64_t layer = 0; layer < kLayers; ++layer) {
    const std::string stem = "model.layers." + std::to_string(layer) + ".";
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"}) tensors.push_back({stem + norm + ".weight", {kHidden}});
    for (const auto& [name, rows, columns] :
         {std::tuple{"self_attn.q_proj", kHidden, kHidden}, {"self_attn.k_proj", kKeys, kHidden},
          {"self_attn.v_proj", kKeys, kHidden}, {"self_attn.o_proj", kHidden, kHidden}, {"mlp.gate_proj", kIntermediate, kHidden},
          {"mlp.up_proj", kIntermediate, kHidden}, {"mlp.down_proj", kHidden, kIntermediate}})
      tensors.push_back({stem + name + ".weight", {rows, columns}});
  }
  nlohmann::json header;
  std::string data;
  std::uint64_t state = 1;
  for (const auto& [name, shape] : tensors) {
    const std::uint64_t begin = data.size(), count = shape[0] * (shape.size() == 2 ? shape[1] : 1);
    for (std::uint64_t i = 0; i < count; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      const float value = static_cast<float>(static_cast<double>(state >> 40) / 16777216.0 - 0.5) * 0.4f +
                          (shape.size() == 1 ? 1.0f : 0.0f);
      data.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  const std::uint64_t length = text.size();
  write_text(directory / "model.safetensors", std::string(reinterpret_cast<const char*>(&length), sizeof length) + text + data);
}

inline std::vector<std::string> run_arguments(const std::filesystem::path& job,
                                              const std::filesystem::path& store, int ranks) {
  return {quench_program(), "run", job, "--store", store, "--ranks", std::to_string(ranks), "--json"};
}

// The logs of all of a store's jobs; those that are there yet.
inline std::string log_of(const std::filesystem::path& store) {
  std::string all;
  std::error_code ignored;
  for (const auto& log : std::filesystem::directory_iterator(store / "logs", ignored)) all += read_text(log.path());
  return all;
}

// `quench` with these arguments on a store.
inline Finished run_quench(std::vector<std::string> arguments, const std::filesystem::path& store) {
  arguments.insert(arguments.begin(), quench_program());
  arguments.insert(arguments.end(), {"--store", store});
  return run(arguments);
}

// Artifact digests by name, from what `quench run --json` printed.
inline std::vector<std::string> digests_of(const Finished& finished) {
  std::vector<std::string> digests;
  const nlohmann::json report = nlohmann::json::parse(finished.out, nullptr, false);
  EXPECT_TRUE(report.is_object()) << "stdout: " << finished.out << "\nstderr: " << finished.err;
  if (report.is_object())
    for (const auto& artifact : report["artifacts"])
      digests.push_back(artifact["name"].get<std::string>() + " " + artifact["digest"].get<std::string>());
  return digests;
}

}  // namespace quench::testing
