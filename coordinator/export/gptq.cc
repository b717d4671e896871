#include "coordinator/export/gptq.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

#include "coordinator/export/carried_files.h"
#include "coordinator/export/linear_tiles.h"
#include "coordinator/export/whole_linear.h"
#include "schemas/error.h"
#include "schemas/packed_layout.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// A tensor of the exported file and its bytes, made only when their turn comes.
struct Output {
  SafetensorsWriter::Item item;
  std::size_t tensor = 0;  // index in the manifest
  enum class Part { raw, qweight, qzeros, scales, g_idx } part = Part::raw;
};

void check_expressible(const TensorRecord& tensor) {
  const std::uint64_t outputs = tensor.shape.at(0), inputs = tensor.shape.at(1);
  if (inputs * tensor.bits % 32 != 0 || outputs * tensor.bits % 32 != 0)
    throw Error(ErrorCode::bad_input,
                tensor.name + " [" + std::to_string(outputs) + ", " + std::to_string(inputs) + "] at " +
                    std::to_string(tensor.bits) +
                    " bits does not fill whole 32-bit words, which the GPTQ format needs: choose --format fp16");
}

std::vector<Output> outputs_of(const Manifest& manifest) {
  std::vector<Output> outputs;
  for (std::size_t i = 0; i < manifest.tensors.size(); ++i) {
    const TensorRecord& tensor = manifest.tensors[i];
    check_tensor_record(tensor);
    if (tensor.layout == TensorLayout::raw) {
      outputs.push_back({{tensor.name, tensor.dtype, tensor.shape}, i, Output::Part::raw});
      continue;
    }
    check_expressible(tensor);
    const std::uint64_t n = tensor.shape.at(0), k = tensor.shape.at(1);
    const PackedTileShape shape{1, static_cast<std::uint32_t>(k), tensor.bits, tensor.group_size};
    const std::uint64_t groups = shape.groups();
    const std::string stem = stem_of(tensor.name);
    outputs.push_back({{stem + ".g_idx", DType::i32, {k}}, i, Output::Part::g_idx});
    outputs.push_back({{stem + ".qweight", DType::i32, {k * tensor.bits / 32, n}}, i, Output::Part::qweight});
    outputs.push_back(
        {{stem + ".qzeros", DType::i32, {groups, n * tensor.bits / 32}}, i, Output::Part::qzeros});
    outputs.push_back({{stem + ".scales", DType::f16, {groups, n}}, i, Output::Part::scales});
  }
  std::sort(outputs.begin(), outputs.end(),
            [](const Output& a, const Output& b) { return a.item.name < b.item.name; });
  return outputs;
}

Bytes part_bytes(const GridsOfLinear& linear, Output::Part part, bool minus_one) {
  const std::uint32_t mask = (1u << linear.bits) - 1;
  std::vector<std::uint32_t> line, words;
  switch (part) {
    case Output::Part::g_idx:
      return bytes_of(linear.group_of);
    case Output::Part::scales:
      return bytes_of(linear.scales);
    case Output::Part::qzeros:
      for (std::uint32_t group = 0; group < linear.groups; ++group) {
        line.assign(linear.zeros.begin() + std::size_t{group} * linear.outputs,
                    linear.zeros.begin() + std::size_t{group + 1} * linear.outputs);
        if (minus_one)
          for (std::uint32_t& zero : line) zero = (zero - 1) & mask;
        const std::vector<std::uint32_t> packed = pack_bits(line, linear.bits);
        words.insert(words.end(), packed.begin(), packed.end());
      }
      return bytes_of(words);
    case Output::Part::qweight: {
      const std::size_t rows = std::size_t{linear.inputs} * linear.bits / 32;
      words.resize(rows * linear.outputs);
      line.resize(linear.inputs);
      for (std::uint32_t output = 0; output < linear.outputs; ++output) {
        for (std::uint32_t k = 0; k < linear.inputs; ++k)
          line[k] = linear.codes[std::size_t{k} * linear.outputs + output];
        const std::vector<std::uint32_t> packed = pack_bits(line, linear.bits);
        for (std::size_t row = 0; row < rows; ++row) words[row * linear.outputs + output] = packed[row];
      }
      return bytes_of(words);
    }
    case Output::Part::raw:
      break;
  }
  QUENCH_CHECK(false);
  return {};
}

ordered_json quantization_config(const Manifest& manifest) {
  const bool per_channel = manifest.recipe.method == Method::int8;
  const bool symmetric = per_channel || manifest.recipe.symmetric;
  return {
      {"bits", manifest.recipe.bits},
      {"group_size", per_channel ? -1 : manifest.recipe.group_size},
      {"desc_act", manifest.recipe.method == Method::gptq && manifest.recipe.act_order},
      {"sym", symmetric},
      {"lm_head", false},
      {"quant_method", "gptq"},
      {"checkpoint_format", symmetric ? "gptq" : "gptq_v2"},
      {"pack_dtype", "int32"},
      {"meta", {{"quantizer", ordered_json::array({"quench"})}, {"damp_percent", manifest.recipe.damping}}}};
}

}  // namespace

std::vector<std::uint32_t> pack_bits(std::span<const std::uint32_t> codes, std::uint32_t bits) {
  QUENCH_CHECK(codes.size() * bits % 32 == 0, codes.size(), bits);
  std::vector<std::uint32_t> words(codes.size() * bits / 32, 0);
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const std::size_t at = i * bits;
    words[at / 32] |= codes[i] << (at % 32);
    if (at % 32 + bits > 32) words[at / 32 + 1] |= codes[i] >> (32 - at % 32);
  }
  return words;
}

void write_gptq(const ArtifactStore& store, const Manifest& manifest, const fs::path& directory) {
  if (manifest.recipe.method == Method::none)
    throw Error(ErrorCode::bad_input,
                "the artifact is not quantized (method none), so there is nothing to pack: choose --format fp16");
  if (manifest.recipe.method == Method::aqlm)
    throw Error(ErrorCode::bad_input,
                "the artifact is made of codebook entries (method aqlm), which the GPTQ format cannot hold: "
                                      "choose --format fp16");
  if (manifest.recipe.budget_gib > 0)
    throw Error(ErrorCode::bad_input, "the artifact has bits and group size chosen for each linear, which the format gptq "
                                      "cannot say: choose --format fp16");
  const ordered_json quantization = quantization_config(manifest);
  write_carried_files(store, manifest, directory,
                      [&](ordered_json& config) { config["quantization_config"] = quantization; });
  write_file(directory / "quantize_config.json", quantization.dump(2) + "\n");

  const std::vector<Output> outputs = outputs_of(manifest);
  std::vector<SafetensorsWriter::Item> items;
  for (const Output& output : outputs) items.push_back(output.item);
  SafetensorsWriter writer(directory / "model.safetensors", items, {{"format", "pt"}});
  const bool minus_one = quantization["checkpoint_format"] == "gptq";
  std::size_t unpacked_tensor = manifest.tensors.size();
  GridsOfLinear linear;  // the four parts of a linear are neighbours in name order
  for (const Output& output : outputs) {
    const TensorRecord& tensor = manifest.tensors[output.tensor];
    if (output.part == Output::Part::raw) {
      for (const ChunkRef& chunk : tensor.chunks) writer.append(checked_chunk(store, chunk));
      continue;
    }
    if (unpacked_tensor != output.tensor) linear = whole_linear(store, tensor);
    unpacked_tensor = output.tensor;
    writer.append(part_bytes(linear, output.part, minus_one));
  }
  writer.finish();
}

}  // namespace quench::coordinator
