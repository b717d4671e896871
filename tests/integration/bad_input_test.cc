// Bad input, through the whole program: one clear error naming file, place, expectation and remedy,
// exit code 2 (1 for a full disk), nothing published, and a store that still opens.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <functional>

#include "tests/integration/small_job.h"

namespace quench::testing {
namespace {

namespace fs = std::filesystem;

// A copy of the small model that a case may damage.
fs::path copy_model(const ScratchDirectory& scratch) {
  fs::copy(fixture("stories260k"), scratch / "model", fs::copy_options::recursive);
  return scratch / "model";
}

void edit_json(const fs::path& file, const std::function<void(nlohmann::json&)>& edit) {
  nlohmann::json document = nlohmann::json::parse(read_text(file));
  edit(document);
  write_text(file, document.dump());
}

// Rewrites the header of model.safetensors, keeping the data behind it.
void edit_header(const fs::path& model, const std::function<void(nlohmann::json&)>& edit) {
  const std::string bytes = read_text(model / "model.safetensors");
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  nlohmann::json header = nlohmann::json::parse(bytes.substr(8, length));
  edit(header);
  const std::string text = header.dump();
  const std::uint64_t new_length = text.size();
  const std::string prefix(reinterpret_cast<const char*>(&new_length), sizeof new_length);
  write_text(model / "model.safetensors", prefix + text + bytes.substr(8 + length));
}

struct Case {
  std::string name;
  std::function<void(const ScratchDirectory&, nlohmann::json& job)> damage;
  std::vector<std::string> told;  // what the error must name
};

void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }

class BadInput : public ::testing::TestWithParam<Case> {};

TEST_P(BadInput, IsToldAndPublishesNothing) {
  const ScratchDirectory scratch;
  nlohmann::json job = small_job();
  job["model"] = copy_model(scratch).string();
  job["quantize"] = {{{"method", "gptq"}, {"bits", 4}, {"groupSize", 32}}};
  GetParam().damage(scratch, job);
  write_text(scratch / "job.json", job.dump());
  const Finished finished = run(run_arguments(scratch / "job.json", scratch / "store", 2));
  EXPECT_EQ(finished.exit_code, 2) << finished.err;
  EXPECT_EQ(finished.out, "");
  for (const std::string& word : GetParam().told)
    EXPECT_NE(finished.err.find(word), std::string::npos) << "no \"" << word << "\" in: " << finished.err;
  if (fs::exists(scratch / "store")) {
    const Finished listed =
        run({quench_program(), "artifacts", "ls", "--json", "--store", scratch / "store"});
    EXPECT_EQ(listed.exit_code, 0) << listed.err;
    EXPECT_EQ(listed.out, "[]\n");
    EXPECT_EQ(run({quench_program(), "artifacts", "verify", "--store", scratch / "store"}).exit_code, 0);
  }
}

std::vector<Case> cases() {
  const auto model = [](const ScratchDirectory& scratch) { return scratch / "model"; };
  const auto aqlm = [](nlohmann::json settings) {
    return [settings](const ScratchDirectory& scratch, nlohmann::json& job) {
      fs::remove_all(scratch / "model");
      write_divisible_model(scratch / "model");
      job["quantize"] = {{{"method", "aqlm"}}};
      job["quantize"][0].update(settings);
    };
  };
  return {
      {"MoreCodebookEntriesThanGroups",
       aqlm({{"codebooks", 1}, {"codebookBits", 9}}),
       {"aqlm-1x9-g8", "model.layers.0.self_attn.k_proj.weight", "512 codebook entries", "only 256 groups", "fewer codebookBits"}},
      {"CodesOfSeventeenBits", aqlm({{"codebookBits", 17}}), {"/quantize/0/codebookBits", "found 17", "1 to 16"}},
      {"GroupsOfTwelve", aqlm({{"groupSize", 12}}), {"/quantize/0/groupSize", "found 12", "8 or 16"}},
      {"GroupsThatDoNotDivide",
       [](const auto&, auto& job) { job["quantize"] = {{{"method", "aqlm"}, {"codebookBits", 4}}}; },
       // stories260k's down_proj has 172 inputs.
       {"aqlm-2x4-g8", "model.layers.0.mlp.down_proj.weight", "172 inputs, which groups of 8 do not divide"}},
      {"GroupsThatDoNotDivideScaledWeights",
       [](const auto&, auto& job) { job["quantize"] = {{{"method", "awq"}, {"groupSize", 8}}}; },
       {"awq-4bit-g8", "model.layers.0.mlp.down_proj.weight", "172 inputs, which groups of 8 do not divide"}},
      {"UnknownKey",
       [](const auto&, auto& job) { job["calibratoin"] = 1; },
       {"/calibratoin", "did you mean \"calibration\""}},
      {"WrongType", [](const auto&, auto& job) { job["ranks"] = "two"; }, {"/ranks", "two"}},
      {"ImpossibleBits",
       [](const auto&, auto& job) { job["quantize"][0]["bits"] = 5; },
       {"/quantize/0/bits", "8, 4, 3 or 2"}},
      {"NoModelDirectory",
       [](const auto&, auto& job) { job["model"] = "/nonexistent/model"; },
       {"/nonexistent/model", "config.json"}},
      {"NoConfig",
       [=](const auto& scratch, auto&) { fs::remove(model(scratch) / "config.json"); },
       {"config.json"}},
      {"NoWeights",
       [=](const auto& scratch, auto&) { fs::remove(model(scratch) / "model.safetensors"); },
       {"model.safetensors"}},
      {"NoTokenizer",
       [=](const auto& scratch, auto&) { fs::remove(model(scratch) / "tokenizer.json"); },
       {"tokenizer.json", "tokenizer.model"}},
      {"IndexNamesMissingShard",
       [=](const auto& scratch, auto&) {
         fs::remove(model(scratch) / "model.safetensors");
         write_text(model(scratch) / "model.safetensors.index.json",
                    R"({"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}})");
       },
       {"model-00001-of-00002.safetensors"}},
      {"LyingHeaderLength",
       [=](const auto& scratch, auto&) {
         std::fstream file(model(scratch) / "model.safetensors",
                           std::ios::in | std::ios::out | std::ios::binary);
         const std::uint64_t huge = 1ull << 60;
         file.write(reinterpret_cast<const char*>(&huge), sizeof huge);
       },
       {"model.safetensors", "header"}},
      {"OffsetsOverlap",
       [=](const auto& scratch, auto&) {
         edit_header(model(scratch), [](auto& header) {
           header["model.layers.0.input_layernorm.weight"]["data_offsets"] =
               header["model.layers.1.input_layernorm.weight"]["data_offsets"];
         });
       },
       {"model.safetensors", "belong to no tensor"}},
      {"OffsetsOutsideTheFile",
       [=](const auto& scratch, auto&) {
         edit_header(model(scratch), [](auto& header) {
           header["model.norm.weight"]["data_offsets"] = {1ull << 40, (1ull << 40) + 256};
         });
       },
       {"model.safetensors", "model.norm.weight"}},
      {"Truncated",
       [=](const auto& scratch, auto&) {
         fs::resize_file(model(scratch) / "model.safetensors",
                         fs::file_size(model(scratch) / "model.safetensors") - 100);
       },
       {"model.safetensors"}},
      {"NaNWeight",
       [=](const auto& scratch, auto&) {
         const auto size = static_cast<std::streamoff>(fs::file_size(model(scratch) / "model.safetensors"));
         std::fstream file(model(scratch) / "model.safetensors",
                           std::ios::in | std::ios::out | std::ios::binary);
         file.seekp(size - 4);
         const std::uint32_t nan = 0x7fc00000;
         file.write(reinterpret_cast<const char*>(&nan), sizeof nan);
       },
       {"model.safetensors", "model.norm.weight", "value 63 is NaN"}},
      {"UnknownArchitecture",
       [=](const auto& scratch, auto&) {
         edit_json(model(scratch) / "config.json", [](auto& config) {
           config["architectures"] = {"MambaForCausalLM"};
           config["model_type"] = "mamba";
         });
       },
       {"config.json", "LlamaForCausalLM"}},
      {"AbsurdSizes",
       [=](const auto& scratch, auto&) {
         edit_json(model(scratch) / "config.json",
                   [](auto& config) { config["num_hidden_layers"] = 100000000; });
       },
       {"config.json", "num_hidden_layers"}},
      {"ConfigDoesNotFitTheWeights",
       [=](const auto& scratch, auto&) {
         edit_json(model(scratch) / "config.json", [](auto& config) { config["intermediate_size"] = 100; });
       },
       {"model.safetensors", "mlp", "100"}},
      {"TokenizerLargerThanVocabulary",
       [=](const auto& scratch, auto&) {
         edit_json(model(scratch) / "tokenizer.json", [](auto& tokenizer) {
           tokenizer["added_tokens"].push_back({{"id", 600},
                                                {"content", "<extra>"},
                                                {"single_word", false},
                                                {"lstrip", false},
                                                {"rstrip", false},
                                                {"normalized", false},
                                                {"special", true}});
         });
       },
       {"tokenizer.json", "600", "512"}},
      {"CalibrationTooShort",
       [](const auto& scratch, auto& job) {
         write_text(scratch / "short.txt", "a b c");
         job["calibration"]["files"] = {(scratch / "short.txt").string()};
       },
       {"short.txt", "tokens", "at least"}},
      {"CalibrationFileMissing",
       [](const auto&, auto& job) { job["calibration"]["files"] = {"/nonexistent/text"}; },
       {"/nonexistent/text", "No such file"}},
      {"CalibrationLongerThanTheModel",
       [](const auto&, auto& job) { job["calibration"]["length"] = 513; },
       {"513", "512", "max_position_embeddings"}},
  };
}

INSTANTIATE_TEST_SUITE_P(All, BadInput, ::testing::ValuesIn(cases()),
                         [](const auto& instance) { return instance.param.name; });

// A PATH with only the named programs in it.
std::string path_of(const ScratchDirectory& scratch, const std::vector<std::string>& programs) {
  fs::create_directories(scratch / "bin");
  for (const std::string& program : programs)
    for (const char* folder : {"/usr/bin", "/bin", "/usr/local/bin"})
      if (fs::exists(fs::path(folder) / program) && !fs::exists(scratch / "bin" / program))
        fs::create_symlink(fs::path(folder) / program, scratch / "bin" / program);
  return (scratch / "bin").string();
}

TEST(BadMachine, WithoutMpirunSaysWhatToInstall) {
  const ScratchDirectory scratch;
  write_text(scratch / "job.json", small_job().dump());
  const Finished finished =
      run(run_arguments(scratch / "job.json", scratch / "store", 1), {{"PATH", path_of(scratch, {"sh"})}});
  EXPECT_EQ(finished.exit_code, 2) << finished.err;
  EXPECT_NE(finished.err.find("openmpi-bin"), std::string::npos) << finished.err;
}

TEST(BadMachine, WithoutASandboxNothingIsQuantizedInVain) {
  const ScratchDirectory scratch;
  nlohmann::json job = small_job();
  job["evaluate"] = {{{"benchmark", "humaneval"}, {"tasks", 2}, {"maxTokens", 4}}};
  write_text(scratch / "job.json", job.dump());
  const std::string path = path_of(scratch, {"sh", "mpirun", "orterun", "orted", "prterun"});
  const Finished finished = run(run_arguments(scratch / "job.json", scratch / "store", 1), {{"PATH", path}});
  EXPECT_EQ(finished.exit_code, 2) << finished.err;
  EXPECT_NE(finished.err.find("bubblewrap"), std::string::npos) << finished.err;
  EXPECT_EQ(run({quench_program(), "artifacts", "ls", "--json", "--store", scratch / "store"}).out, "[]\n");
}

// A backend that cannot run here is refused, never replaced: its bytes may differ.
TEST(BadMachine, AForcedBackendThatCannotRunHereIsRefused) {
  const ScratchDirectory scratch;
  nlohmann::json job = small_job();
  job["quantize"] = {{{"method", "gptq"}, {"bits", 4}, {"groupSize", 32}}};
  write_text(scratch / "job.json", job.dump());
  for (const std::string backend : {"avx1024", "cuda", "cuda-exact"}) {
    if (backend != "avx1024" && fs::exists("/dev/nvidiactl")) continue;  // there a GPU runs it
    const Finished finished =
        run(run_arguments(scratch / "job.json", scratch / "store", 1), {{"QUENCH_BACKEND", backend}});
    EXPECT_EQ(finished.exit_code, 2) << finished.err;
    EXPECT_NE(finished.err.find(backend), std::string::npos) << finished.err;
    EXPECT_NE(finished.err.find(backend == "avx1024" ? "these run here" : "GPU"), std::string::npos) << finished.err;
  }
}

TEST(BadStore, AFolderOfOtherThingsIsRefused) {
  const ScratchDirectory scratch;
  write_text(scratch / "folder" / "notes.txt", "mine");
  write_text(scratch / "job.json", small_job().dump());
  const Finished finished = run(run_arguments(scratch / "job.json", scratch / "folder", 1));
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_NE(finished.err.find("not a store"), std::string::npos) << finished.err;
  EXPECT_EQ(read_text(scratch / "folder" / "notes.txt"), "mine");
}

TEST(BadStore, AStoreInUseIsReadThroughItsOwnerAndRunsAreRefused) {
  const ScratchDirectory scratch;
  nlohmann::json job = small_job();
  write_text(scratch / "job.json", job.dump());
  job["name"] = "second";
  write_text(scratch / "second.json", job.dump());
  Running owner(run_arguments(scratch / "job.json", scratch / "store", 2), {}, scratch / "err.txt");
  const auto socket = scratch / "store" / "quench.sock";
  while (!fs::exists(socket) && !owner.ended()) ::usleep(5'000);
  ASSERT_FALSE(owner.ended()) << read_text(scratch / "err.txt");
  const Finished refused = run(run_arguments(scratch / "second.json", scratch / "store", 1));
  const Finished listed = run({quench_program(), "artifacts", "ls", "--json", "--store", scratch / "store"});
  EXPECT_EQ(owner.wait(), 0) << read_text(scratch / "err.txt");
  EXPECT_EQ(refused.exit_code, 2) << refused.err;
  EXPECT_NE(refused.err.find("in use"), std::string::npos) << refused.err;
  EXPECT_EQ(listed.exit_code, 0) << listed.err;
  EXPECT_TRUE(nlohmann::json::parse(listed.out).is_array());
}

// Where Java's kits usually are is empty, in a mount namespace of its own.
Finished run_without_java(const std::vector<std::string>& arguments) {
  std::vector<std::string> all{"unshare", "--mount", "sh", "-c",
                               "[ ! -d /usr/lib/jvm ] || mount -t tmpfs none /usr/lib/jvm || exit 99; exec \"$@\"", "sh"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return run(all, {{"PATH", "/usr/bin:/bin"}});
}

TEST(WithoutJava, ItsBenchmarksAreRefusedAndPythonsGoOn) {
  const ScratchDirectory scratch;
  if (run_without_java({"true"}).exit_code != 0) GTEST_SKIP() << "a mount namespace needs root";
  const auto graded = [&](const std::string& benchmark, const std::string& language, const nlohmann::json& line) {
    write_text(scratch / "answers.jsonl", line.dump() + "\n");
    return run_without_java({quench_program(), "grade", "--benchmark", benchmark, "--language", language, "--completions",
                             scratch / "answers.jsonl", "--out", scratch / (language + ".jsonl")});
  };
  const std::string java = read_text(fixture("grading") / "humaneval-java-labelled.jsonl");
  const Finished refused =
      graded("multipl-e-humaneval", "java", nlohmann::json::parse(java.substr(0, java.find('\n'))));
  EXPECT_EQ(refused.exit_code, 2) << refused.err;
  EXPECT_NE(refused.err.find("there is no Java development kit (/usr/lib/jvm/default-java/bin/javac)"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("install the package default-jdk-headless"), std::string::npos) << refused.err;
  EXPECT_FALSE(fs::exists(scratch / "java.jsonl"));
  const Finished done =
      graded("multipl-e-humaneval", "python", {{"task_id", "HumanEval_53_add"}, {"completion", "    return x + y\n"}});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_NE(done.out.find("1 of 1 passed"), std::string::npos) << done.out;
}

// A disk of so many bytes that is really full; needs root and the right to mount.
class SmallDisk {
 public:
  SmallDisk(const fs::path& where, const std::string& size) : where_(where) {
    fs::create_directories(where);
    mounted_ = ::mount("tmpfs", where.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(where_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  void resize(const std::string& size) const {
    ::mount("tmpfs", where_.c_str(), "tmpfs", MS_REMOUNT, ("size=" + size).c_str());
  }

 private:
  fs::path where_;
  bool mounted_ = false;
};

TEST(FullDisk, EndsWithOneErrorAndTheJobGoesOnWhenThereIsRoom) {
  const ScratchDirectory scratch;
  const SmallDisk disk(scratch / "disk", "2500k");
  if (!disk.mounted()) GTEST_SKIP() << "mounting a tmpfs needs root";
  write_text(scratch / "job.json", small_job().dump());
  const auto arguments = run_arguments(scratch / "job.json", scratch / "disk" / "store", 2);
  const Finished full = run(arguments);
  EXPECT_EQ(full.exit_code, 1) << full.err;
  EXPECT_NE(full.err.find("space"), std::string::npos) << full.err;
  disk.resize("64m");
  const Finished verified =
      run({quench_program(), "artifacts", "verify", "--store", scratch / "disk" / "store"});
  EXPECT_EQ(verified.exit_code, 0) << verified.out << verified.err;
  const Finished done = run(arguments);
  EXPECT_EQ(done.exit_code, 0) << done.err;
  const Finished elsewhere = run(run_arguments(scratch / "job.json", scratch / "roomy", 1));
  EXPECT_EQ(digests_of(done), digests_of(elsewhere));
}

}  // namespace
}  // namespace quench::testing
