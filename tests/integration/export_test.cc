// `quench artifacts export` on a real job's store: what every format has beside the weights, and what is refused. The
// weights of other tools' formats are held against those tools in tests/peers.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "tests/integration/exported_job.h"

namespace quench::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

TEST_F(ExportOfAJob, PlainWeightsOfTheBaselineAreTheSourceRounded) {
  const auto source = read_tensors(*scratch_ / "model" / "model.safetensors");
  for (const std::string format : {"fp16", "bf16"}) {
    const fs::path out = *scratch_ / ("none-" + format);
    ASSERT_EQ(export_to("none", format, out).exit_code, 0);
    const auto plain = read_tensors(out / "model.safetensors");
    ASSERT_EQ(plain.size(), source.size());
    for (const auto& [name, tensor] : source) {
      ASSERT_EQ(tensor.first, "F32");
      ASSERT_EQ(plain.at(name).first, format == "fp16" ? "F16" : "BF16");
      const std::string& bytes = plain.at(name).second;
      ASSERT_EQ(bytes.size() * 2, tensor.second.size());
      for (std::size_t i = 0; i < bytes.size() / 2; ++i) {
        float value;
        std::uint16_t bits;
        std::memcpy(&value, tensor.second.data() + 4 * i, sizeof value);
        std::memcpy(&bits, bytes.data() + 2 * i, sizeof bits);
        if (format == "fp16") {
          ASSERT_EQ(bits, std::bit_cast<std::uint16_t>(static_cast<_Float16>(value))) << name << " " << i;
        } else {
          ASSERT_NEAR(std::bit_cast<float>(std::uint32_t{bits} << 16), value, std::abs(value) / 256) << name << " " << i;
        }
      }
    }
    const json config = json::parse(read_text(out / "config.json"));
    EXPECT_EQ(config["torch_dtype"], format == "fp16" ? "float16" : "bfloat16");
  }
}

// Few tokens: rounding to fp16 tips a near tie of this random model sooner or later.
TEST_F(ExportOfAJob, APlainModelSaysWhatItsArtifactSays) {
  for (const auto& [name, digest] : digests_) {
    const fs::path out = *scratch_ / ("plain-" + name);
    const Finished finished = export_to(name, "fp16", out);
    ASSERT_EQ(finished.exit_code, 0) << name << ": " << finished.err;
    EXPECT_EQ(greedy(out), greedy(digest)) << name;
  }
}

TEST_F(ExportOfAJob, EveryExportHasItsCardLicenceAndFiles) {
  for (const std::string format : {"gptq", "bf16", "compressed-tensors"}) {
    const fs::path out = *scratch_ / ("card-" + format);
    ASSERT_EQ(export_to("gptq", format, out).exit_code, 0);
    const std::string card = read_text(out / "README.md");
    const json shown = json::parse(quench({"artifacts", "show", digests_["gptq"], "--json"}).out);
    for (const std::string& text :
         {std::string("license: mit\n"), "| artifact (SHA-256) | " + digests_["gptq"] + " |",
          "| source (SHA-256) | " + shown["source"].get<std::string>() + " |",
          "| calibration (SHA-256) | " + shown["calibration"].get<std::string>() + " |",
          std::string("| codes | 4 bits, symmetric, groups of 32 |"), std::string("| mit; text in LICENSE |"),
          std::string("| humaneval | python | first 2 of 164 | 1 | 0 | 0.00 |")})
      EXPECT_NE(card.find(text), std::string::npos) << text << "\nnot in\n" << card;
    EXPECT_EQ(read_text(out / "LICENSE"), kLicence);
    for (const char* file : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"})
      EXPECT_EQ(read_text(out / file), read_text(*scratch_ / "model" / file)) << file;
  }
}

TEST_F(ExportOfAJob, TheLicenceOfADirectoryThatBecameAnotherModelIsNotClaimed) {
  const fs::path config = *scratch_ / "model" / "generation_config.json";
  const std::string before = read_text(config);
  write_text(config, "{}");
  const Finished finished = export_to("int8", "fp16", *scratch_ / "another");
  write_text(config, before);
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  const std::string card = read_text(*scratch_ / "another" / "README.md");
  EXPECT_EQ(card.find("mit"), std::string::npos) << card;
  EXPECT_NE(card.find("not stated where this was exported"), std::string::npos) << card;
  EXPECT_FALSE(fs::exists(*scratch_ / "another" / "LICENSE"));
}

struct Refusal {
  const char *artifact, *format, *told, *instead;
};

TEST_F(ExportOfAJob, WhatAFormatCannotHoldIsRefusedAndNothingWritten) {
  const fs::path out = *scratch_ / "refused" / "out";
  fs::create_directories(out.parent_path());
  for (const Refusal& refusal : std::initializer_list<Refusal>{
           {"aqlm", "gptq", "codebook entries", "--format fp16"},
           {"none", "gptq", "not quantized", "--format fp16"},
           {"none", "compressed-tensors", "not quantized", "--format fp16"},
           {"aqlm", "compressed-tensors", "codebook entries", "--format fp16"},
           {"three", "compressed-tensors", "codes of 3 bits", "--format gptq"},
           {"three", "awq", "codes of 3 bits", "--format gptq"},
           {"act-order", "awq", "self_attn.q_proj.weight has its columns grouped in another order", "--format gptq"},
           {"aqlm", "awq", "codebook entries", "fp16"},
           {"gptq", "aqlm", "not made of codebook entries (method gptq)", "--format gptq"},
           {"act-order", "compressed-tensors", "self_attn.q_proj.weight has its columns grouped in another order", "--format gptq"},
           {"none", "gguf-q8_0", "q_proj.weight cannot be written as Q8_0 exactly: it is not quantized", "--format gguf-f16"},
           {"aqlm", "gguf-q4_0", "it is made of codebook entries", "--format gguf-f16"},
           {"gptq", "gguf-q4_k", "its 64 inputs in groups of 32 are not blocks of 256", "--format gguf-f16"},
           {"gptq", "onnx", "--format onnx", "fp16"}}) {
    const Finished finished = export_to(refusal.artifact, refusal.format, out);
    EXPECT_EQ(finished.exit_code, 2) << refusal.artifact << " as " << refusal.format;
    for (const char* text : {refusal.told, refusal.instead})
      EXPECT_NE(finished.err.find(text), std::string::npos) << text << " not in: " << finished.err;
    EXPECT_TRUE(fs::is_empty(out.parent_path())) << refusal.artifact << " as " << refusal.format;
  }
}

TEST(Export, AWeightTooLargeForFp16IsNamedAndBf16HoldsIt) {
  const ScratchDirectory scratch;
  write_divisible_model(scratch / "model");
  std::string bytes = read_text(scratch / "model" / "model.safetensors");
  const float large = 70000.0f;
  std::memcpy(bytes.data() + bytes.size() - sizeof large, &large, sizeof large);  // the last linear's last weight
  write_text(scratch / "model" / "model.safetensors", bytes);
  write_text(scratch / "job.json", json{{"name", "large"}, {"model", (scratch / "model").string()}}.dump());
  const Finished made = run(run_arguments(scratch / "job.json", scratch / "store", 1));
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const auto exported = [&](const char* format) {
    return run({quench_program(), "artifacts", "export", "large/none", "--format", format, "--to", scratch / "out" / format,
                "--store", scratch / "store"});
  };
  const Finished refused = exported("fp16");
  EXPECT_EQ(refused.exit_code, 2);
  for (const char* text : {"model.layers.1.mlp.down_proj.weight", "70000", "--format bf16"})
    EXPECT_NE(refused.err.find(text), std::string::npos) << refused.err;
  EXPECT_TRUE(fs::is_empty(scratch / "out"));
  EXPECT_EQ(exported("bf16").exit_code, 0);
}

}  // namespace
}  // namespace quench::testing
