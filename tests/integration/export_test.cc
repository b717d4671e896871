// `quench artifacts export` on a real job's store: what every format has beside the weights, and what is refused. The
// weights of other tools' formats are held against those tools in tests/peers.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "tests/integration/small_job.h"

namespace quench::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kLicence = "Do with it what you like.\n";

// The tensors of a safetensors file as their bytes.
std::map<std::string, std::pair<std::string, std::string>> read_tensors(const fs::path& file) {
  const std::string bytes = read_text(file);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  std::map<std::string, std::pair<std::string, std::string>> tensors;
  const json header = json::parse(bytes.substr(8, length));
  for (const auto& [name, entry] : header.items())
    if (name != "__metadata__")
      tensors[name] = {entry["dtype"], bytes.substr(8 + length + entry["data_offsets"][0].get<std::size_t>(),
                                                    entry["data_offsets"][1].get<std::size_t>() -
                                                        entry["data_offsets"][0].get<std::size_t>())};
  return tensors;
}

class ExportOfAJob : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = new ScratchDirectory;
    const fs::path model = *scratch_ / "model";
    write_divisible_model(model);
    write_text(model / "generation_config.json", R"({"bos_token_id": 1, "eos_token_id": 2})");
    write_text(model / "README.md", "---\nlicense: mit\n---\n# A model\n");
    write_text(model / "LICENSE", kLicence);
    json job = small_job();
    job["model"] = model.string();
    job["quantize"] = {{{"method", "int8"}},
                       {{"name", "gptq"}, {"method", "gptq"}, {"bits", 4}, {"groupSize", 32}},
                       {{"name", "asymmetric"}, {"method", "gptq"}, {"bits", 4}, {"groupSize", 32}, {"symmetric", false}},
                       {{"name", "act-order"}, {"method", "gptq"}, {"bits", 4}, {"groupSize", 32}, {"actOrder", true}},
                       {{"name", "three"}, {"method", "rtn"}, {"bits", 3}, {"groupSize", 32}, {"symmetric", false}},
                       {{"name", "aqlm"}, {"method", "aqlm"}, {"codebooks", 2}, {"codebookBits", 4}}};
    job["evaluate"] = {{{"benchmark", "humaneval"}, {"maxTokens", 4}, {"tasks", 2}}};
    write_text(*scratch_ / "job.json", job.dump());
    const Finished finished = run(run_arguments(*scratch_ / "job.json", *scratch_ / "store", 1));
    ASSERT_EQ(finished.exit_code, 0) << finished.err;
    const json report = json::parse(finished.out);
    for (const auto& artifact : report["artifacts"])
      digests_[artifact["name"].get<std::string>()] = artifact["digest"].get<std::string>();
    ASSERT_EQ(digests_.size(), 7u);
  }
  static void TearDownTestSuite() {
    delete scratch_;
    scratch_ = nullptr;
  }
  static Finished quench(const std::vector<std::string>& arguments) { return run_quench(arguments, *scratch_ / "store"); }
  static Finished export_to(const std::string& artifact, const std::string& format, const fs::path& to) {
    return quench({"artifacts", "export", digests_.at(artifact), "--format", format, "--to", to});
  }
  static std::vector<int> greedy(const std::string& model) {
    const Finished finished = quench({"generate", model, "--prompt", "Once upon a time", "--max-tokens", "8", "--temperature",
                                      "0", "--json"});
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    return json::parse(finished.out)["tokens"].get<std::vector<int>>();
  }
  static const ScratchDirectory* scratch_;
  static std::map<std::string, std::string> digests_;
};
const ScratchDirectory* ExportOfAJob::scratch_ = nullptr;
std::map<std::string, std::string> ExportOfAJob::digests_;

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
           {"act-order", "compressed-tensors", "self_attn.q_proj.weight has its columns grouped in another order", "--format gptq"},
           {"none", "gguf-q8_0", "q_proj.weight cannot be written as Q8_0 exactly: it is not quantized", "--format gguf-f16"},
           {"aqlm", "gguf-q4_0", "it is made of codebook entries", "--format gguf-f16"},
           {"gptq", "gguf-q4_0", "tokenizer.json is not a plain BPE", "--format fp16"},
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
