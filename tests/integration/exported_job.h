// A job of a small model by every method, once for all tests of a program, and its exports.
#pragma once

#include <cstring>
#include <map>
#include <string>

#include "tests/integration/small_job.h"

namespace quench::testing {

inline const std::string kLicence = "Do with it what you like.\n";

// The tensors of a safetensors file as their bytes.
inline std::map<std::string, std::pair<std::string, std::string>> read_tensors(const std::filesystem::path& file) {
  const std::string bytes = read_text(file);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  std::map<std::string, std::pair<std::string, std::string>> tensors;
  const nlohmann::json header = nlohmann::json::parse(bytes.substr(8, length));
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
    const std::filesystem::path model = *scratch_ / "model";
    write_divisible_model(model);
    write_text(model / "generation_config.json", R"({"bos_token_id": 1, "eos_token_id": 2})");
    write_text(model / "README.md", "---\nlicense: mit\n---\n# A model\n");
    write_text(model / "LICENSE", kLicence);
    nlohmann::json job = small_job();
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
    const nlohmann::json report = nlohmann::json::parse(finished.out);
    for (const auto& artifact : report["artifacts"])
      digests_[artifact["name"].get<std::string>()] = artifact["digest"].get<std::string>();
    ASSERT_EQ(digests_.size(), 7u);
  }
  static void TearDownTestSuite() {
    delete scratch_;
    scratch_ = nullptr;
  }
  static Finished quench(const std::vector<std::string>& arguments) { return run_quench(arguments, *scratch_ / "store"); }
  static Finished export_to(const std::string& artifact, const std::string& format, const std::filesystem::path& to) {
    return quench({"artifacts", "export", digests_.at(artifact), "--format", format, "--to", to});
  }
  static std::vector<int> greedy(const std::string& model) {
    const Finished finished = quench({"generate", model, "--prompt", "Once upon a time", "--max-tokens", "8", "--temperature",
                                      "0", "--json"});
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    return nlohmann::json::parse(finished.out)["tokens"].get<std::vector<int>>();
  }
  inline static const ScratchDirectory* scratch_ = nullptr;
  inline static std::map<std::string, std::string> digests_;  // by artifact
};

}  // namespace quench::testing
