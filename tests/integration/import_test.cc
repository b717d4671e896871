// `quench artifacts import`: what this program exports comes back with the same weights, from every format, and directories
// that contradict themselves are refused. The other tools' own files are in tests/peers.
#include <gtest/gtest.h>

#include "tests/integration/exported_job.h"

namespace quench::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

using Tensors = std::map<std::string, std::pair<std::string, std::string>>;

// A safetensors file of the tensors that `edit` leaves, with their shapes from `file`.
void rewrite(const fs::path& file, const std::function<void(json& header, Tensors& tensors)>& edit) {
  Tensors tensors = read_tensors(file);
  const std::string bytes = read_text(file);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  json header = json::parse(bytes.substr(8, length));
  edit(header, tensors);
  std::string data;
  json written = json::object();
  for (const auto& [name, tensor] : tensors) {
    written[name] = {{"dtype", tensor.first}, {"shape", header.at(name).at("shape")}, {"data_offsets", {data.size(), data.size() + tensor.second.size()}}};
    data += tensor.second;
  }
  std::string text = written.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  length = text.size();
  write_text(file, std::string(reinterpret_cast<const char*>(&length), sizeof length) + text + data);
}

class ImportOfAnExport : public ExportOfAJob {
 protected:
  static fs::path exported(const std::string& artifact, const std::string& format, const std::string& name) {
    const fs::path to = *scratch_ / ("import-" + name);
    const Finished finished = export_to(artifact, format, to);
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    return to;
  }
  static Finished import(const fs::path& directory, const std::string& name, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"artifacts", "import", "--from", directory.string(), "--as", name};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return quench(arguments);
  }
  static std::string weights_of(const std::string& artifact, const std::string& name) {
    const fs::path to = *scratch_ / ("weights-" + name);
    const Finished finished = quench({"artifacts", "export", artifact, "--format", "fp16", "--to", to});
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    return read_text(to / "model.safetensors");
  }
};

struct RoundTrip {
  const char *artifact, *format, *method, *as_method;
  bool same_chunks;  // act-order comes back with its columns sorted within their groups
};

TEST_F(ImportOfAnExport, WeightsComeBackToTheBit) {
  for (const RoundTrip& trip : std::initializer_list<RoundTrip>{{"gptq", "gptq", "gptq", "", true},
                                                                {"asymmetric", "gptq", "gptq", "", true},
                                                                {"act-order", "gptq", "gptq", "", false},
                                                                {"three", "gptq", "gptq", "", true},
                                                                {"gptq", "awq", "awq", "", true},
                                                                {"asymmetric", "awq", "awq", "", true},
                                                                {"gptq", "compressed-tensors", "rtn", "", true},
                                                                {"asymmetric", "compressed-tensors", "gptq", "gptq", true},
                                                                {"int8", "compressed-tensors", "int8", "", true},
                                                                {"int8", "gptq", "gptq", "", true},
                                                                {"aqlm", "aqlm", "aqlm", "", true}}) {
    const std::string name = std::string(trip.artifact) + "-" + trip.format;
    std::vector<std::string> more = {"--json"};
    if (*trip.as_method != '\0') more.insert(more.end(), {"--method", trip.as_method});
    const Finished finished = import(exported(trip.artifact, trip.format, name), "back/" + name, more);
    ASSERT_EQ(finished.exit_code, 0) << name << ": " << finished.err;
    const json imported = json::parse(finished.out);
    EXPECT_EQ(imported["format"], trip.format);
    EXPECT_EQ(imported["linears"], 14);
    EXPECT_EQ(imported["not_quantized"], 0);
    EXPECT_EQ(weights_of(imported["digest"], name + "-back"), weights_of(digests_[trip.artifact], name)) << name;
    const json shown = json::parse(quench({"artifacts", "show", "back/" + name, "--json"}).out);
    const json before = json::parse(quench({"artifacts", "show", digests_[trip.artifact], "--json"}).out);
    EXPECT_EQ(shown["recipe"]["method"], trip.method) << name;
    EXPECT_EQ(shown["tensors"] == before["tensors"], trip.same_chunks) << name;
  }
  EXPECT_EQ(quench({"artifacts", "verify"}).exit_code, 0);
}

TEST_F(ImportOfAnExport, AnImportRunsAndIsComparedLikeAnyOther) {
  const fs::path directory = exported("gptq", "gptq", "runs");
  ASSERT_EQ(import(directory, "lab/elsewhere:v1").exit_code, 0);
  // Again is nothing new; another artifact under the name is refused.
  EXPECT_EQ(import(directory, "lab/elsewhere:v1").exit_code, 0);
  const Finished taken = import(exported("asymmetric", "gptq", "taken"), "lab/elsewhere:v1");
  EXPECT_EQ(taken.exit_code, 2);
  EXPECT_NE(taken.err.find("taken"), std::string::npos) << taken.err;
  EXPECT_EQ(greedy("lab/elsewhere:v1"), greedy(digests_["gptq"]));
  const std::string config = quench({"artifacts", "export", "lab/elsewhere:v1", "--format", "fp16", "--to", *scratch_ / "again"}).out;
  EXPECT_FALSE(json::parse(read_text(*scratch_ / "again" / "config.json")).contains("quantization_config")) << config;
}

TEST_F(ImportOfAnExport, APlainModelIsTheBaseline) {
  const Finished finished = import(*scratch_ / "model", "plain/model", {"--json"});
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_EQ(json::parse(finished.out)["format"], "none");
  const json shown = json::parse(quench({"artifacts", "show", "plain/model", "--json"}).out);
  const json baseline = json::parse(quench({"artifacts", "show", digests_["none"], "--json"}).out);
  EXPECT_EQ(shown["tensors"], baseline["tensors"]);
  EXPECT_EQ(shown["source"], baseline["source"]);
}

using Edit = std::function<void(const fs::path& directory)>;
Edit in_config(const std::function<void(json& quantization)>& edit) {
  return [edit](const fs::path& directory) {
    json config = json::parse(read_text(directory / "config.json"));
    edit(config["quantization_config"]);
    write_text(directory / "config.json", config.dump());
    if (fs::exists(directory / "quantize_config.json")) write_text(directory / "quantize_config.json", config["quantization_config"].dump());
  };
}
Edit in_tensors(const std::function<void(json& header, Tensors& tensors)>& edit) {
  return [edit](const fs::path& directory) { rewrite(directory / "model.safetensors", edit); };
}

// Of a matrix of words that hold codes of 4 bits, low bits first, along its rows or down its columns: half of each code, in
// `bits` each. 3 bits run from one word into the next.
std::string halved(const std::string& bytes, std::size_t rows, std::size_t columns, bool down, std::uint32_t bits) {
  std::vector<std::uint32_t> words(rows * columns);
  std::memcpy(words.data(), bytes.data(), bytes.size());
  const std::size_t vectors = down ? columns : rows, length = (down ? rows : columns), new_length = length * bits / 4;
  std::vector<std::uint32_t> out(vectors * new_length);
  const auto at = [&](std::size_t vector, std::size_t word, std::size_t of) { return down ? word * columns + vector : vector * of + word; };
  for (std::size_t vector = 0; vector < vectors; ++vector)
    for (std::size_t k = 0; k < length * 8; ++k) {
      const std::uint64_t code = (words[at(vector, k / 8, length)] >> k % 8 * 4 & 15) / 2;
      const std::size_t word = k * bits / 32, shift = k * bits % 32;
      out[at(vector, word, new_length)] |= static_cast<std::uint32_t>(code << shift);
      if (shift + bits > 32) out[at(vector, word + 1, new_length)] |= static_cast<std::uint32_t>(code >> (32 - shift));
    }
  return std::string(reinterpret_cast<const char*>(out.data()), out.size() * sizeof(std::uint32_t));
}

// What this program does not write itself: the same codes below 8, once in words of 4 bits and once of 3.
TEST_F(ImportOfAnExport, CompressedTensorsOfThreeBitsHaveTheWeightsOfTheSameCodesInFour) {
  std::map<std::uint32_t, std::string> weights;
  for (const std::uint32_t bits : {3u, 4u}) {
    const std::string name = "halved-" + std::to_string(bits);
    const fs::path directory = exported("asymmetric", "compressed-tensors", name);
    in_config([&](json& q) { q["config_groups"]["group_0"]["weights"]["num_bits"] = bits; })(directory);
    int changed = 0;
    in_tensors([&](json& header, Tensors& tensors) {
      for (auto& [tensor, entry] : tensors) {
        const bool down = tensor.ends_with("_zero_point");
        if (!down && !tensor.ends_with("_packed")) continue;
        json& shape = header[tensor]["shape"];
        entry.second = halved(entry.second, shape[0], shape[1], down, bits);
        shape[down ? 0 : 1] = shape[down ? 0 : 1].get<std::size_t>() * bits / 4;
        ++changed;
      }
    })(directory);
    ASSERT_EQ(changed, 28);
    const Finished finished = import(directory, "lab/" + name, {"--json"});
    ASSERT_EQ(finished.exit_code, 0) << finished.err;
    const std::string digest = json::parse(finished.out)["digest"];
    EXPECT_EQ(json::parse(quench({"artifacts", "show", digest, "--json"}).out)["recipe"]["bits"], bits);
    weights[bits] = weights_of(digest, name);
  }
  EXPECT_EQ(weights[3], weights[4]);
  EXPECT_NE(weights[3], weights_of(digests_["asymmetric"], "not-halved"));
}

struct Contradiction {
  const char *artifact, *format;
  std::vector<std::string> told;
  Edit edit;
};

TEST_F(ImportOfAnExport, ContradictionsAreNamedAndNothingIsPublished) {
  const std::string first = "model.layers.0.self_attn.q_proj";
  const std::vector<Contradiction> contradictions = {
      {"gptq", "gptq", {"qzeros", "has zero 7", "checkpoint_format"}, in_config([](json& q) { q["checkpoint_format"] = "gptq_v2"; })},
      {"asymmetric", "gptq", {"qzeros", "\"sym\""}, in_config([](json& q) { q["sym"] = true; })},
      {"act-order", "gptq", {"g_idx is missing", "desc_act"},
       in_tensors([first](json&, Tensors& t) { t.erase(first + ".g_idx"); })},
      {"gptq", "gptq", {"g_idx", "group 0 has 31 columns"},
       in_tensors([first](json&, Tensors& t) { t[first + ".g_idx"].second[0] = 1; })},
      {"gptq", "gptq", {"quantize_config.json", "\"bits\"", "config.json"},
       [](const fs::path& d) {
         json said = json::parse(read_text(d / "quantize_config.json"));
         said["bits"] = 8;
         write_text(d / "quantize_config.json", said.dump());
       }},
      {"gptq", "gptq", {"qweight", "different models"}, in_config([](json& q) { q["bits"] = 8; })},
      {"gptq", "gptq", {"5 bits", "2, 3, 4 and 8"}, in_config([](json& q) { q["bits"] = 5; })},
      {"gptq", "gptq", {"\"group_size\" is 0"}, in_config([](json& q) { q["group_size"] = 0; })},
      {"gptq", "gptq", {"quant_method", "\"gptqq\"", "gptq"}, in_config([](json& q) { q["quant_method"] = "gptqq"; })},
      {"gptq", "gptq", {first + ".scales", "not finite"},
       in_tensors([first](json&, Tensors& t) { t[first + ".scales"].second[1] = 0x7e; })},
      {"gptq", "gptq", {"has no place", "extra.weight"},
       in_tensors([](json& h, Tensors& t) {
         h["extra.weight"] = {{"shape", {2}}};
         t["extra.weight"] = {"F16", std::string(4, '\0')};
       })},
      {"gptq", "gptq", {first + ".bias", "is not zero"},
       in_tensors([first](json& h, Tensors& t) {
         h[first + ".bias"] = {{"shape", {64}}};
         t[first + ".bias"] = {"F16", std::string(128, '\1')};
       })},
      {"gptq", "gptq", {"model.norm.weight", "missing"}, in_tensors([](json&, Tensors& t) { t.erase("model.norm.weight"); })},
      {"gptq", "gptq", {"model.safetensors"},
       [](const fs::path& d) { fs::resize_file(d / "model.safetensors", fs::file_size(d / "model.safetensors") - 100); }},
      {"asymmetric", "awq", {"\"version\"", "gemv"}, in_config([](json& q) { q["version"] = "gemv"; })},
      {"asymmetric", "awq", {"only 4 bits"}, in_config([](json& q) { q["bits"] = 8; })},
      {"aqlm", "aqlm", {"out_group_size"}, in_config([](json& q) { q["out_group_size"] = 2; })},
      {"aqlm", "aqlm", {".codes has code", "entries 0 to 15"},
       in_tensors([first](json&, Tensors& t) { t[first + ".codes"].second[3] = 16; })},
      {"gptq", "compressed-tensors", {"input_activations"},
       in_config([](json& q) { q["config_groups"]["group_0"]["input_activations"] = {{"num_bits", 8}}; })},
      {"gptq", "compressed-tensors", {"weight_shape", "config.json asks for"},
       in_tensors([first](json&, Tensors& t) { t[first + ".weight_shape"].second[0] = 1; })},
      {"gptq", "compressed-tensors", {"\"format\"", "float-quantized"},
       in_config([](json& q) {
         q["format"] = "float-quantized";
         q["config_groups"]["group_0"].erase("format");
       })}};
  int number = 0;
  const std::string before = quench({"artifacts", "ls", "--json"}).out;
  for (const Contradiction& one : contradictions) {
    const std::string name = "contradiction-" + std::to_string(number++);
    const fs::path directory = exported(one.artifact, one.format, name);
    one.edit(directory);
    const Finished finished = import(directory, "bad/" + name);
    EXPECT_EQ(finished.exit_code, 2) << name << " " << one.told.front() << finished.out;
    for (const std::string& text : one.told) EXPECT_NE(finished.err.find(text), std::string::npos) << name << ": " << text << " not in: " << finished.err;
    EXPECT_NE(finished.err.find(directory.string()), std::string::npos) << finished.err;
  }
  EXPECT_EQ(quench({"artifacts", "ls", "--json"}).out, before);
}

}  // namespace
}  // namespace quench::testing
