#include "coordinator/export/compressed_tensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "coordinator/export/carried_files.h"
#include "coordinator/export/linear_tiles.h"
#include "coordinator/export/whole_linear.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

[[noreturn]] void refuse(const std::string& what, const char* instead) {
  throw Error(ErrorCode::bad_input, what + ": choose " + instead);
}

void check_recipe(const QuantizeSpec& recipe) {
  if (recipe.method == Method::none)
    refuse("the artifact is not quantized (method none), so there is nothing to compress", "--format fp16");
  if (recipe.method == Method::aqlm)
    refuse("the artifact is made of codebook entries (method aqlm), which compressed-tensors cannot hold", "--format fp16");
  if (recipe.budget_gib > 0)
    refuse("the artifact has bits and group size chosen for each linear, and this build writes one scheme for all",
           "--format fp16");
  if (recipe.bits != 4 && recipe.bits != 8)
    refuse("the artifact has codes of " + std::to_string(recipe.bits) +
               " bits, whose packing differs between versions of compressed-tensors; 4 and 8 bits are written",
           "--format gptq");
}

void check_linear(const PackedLinear& linear, const TensorRecord& tensor) {
  if (!linear.groups_in_order())
    refuse(tensor.name + " has its columns grouped in another order (actOrder), for which compressed-tensors has no g_idx",
           "--format gptq");
  if (tensor.group_size > 0 && linear.inputs() % static_cast<std::uint32_t>(tensor.group_size) != 0)
    refuse(tensor.name + " has " + std::to_string(linear.inputs()) + " inputs, which groups of " +
               std::to_string(tensor.group_size) + " do not divide, as compressed-tensors needs",
           "--format gptq");
}

ordered_json quantization_config(const QuantizeSpec& recipe, bool integers, bool symmetric) {
  const bool per_row = recipe.group_size < 0;
  const ordered_json weights = {{"num_bits", recipe.bits},
                                {"type", "int"},
                                {"symmetric", symmetric},
                                {"strategy", per_row ? "channel" : "group"},
                                {"group_size", per_row ? ordered_json() : ordered_json(recipe.group_size)},
                                {"dynamic", false}};
  const bool dynamic = recipe.activations == Activations::dynamic;
  const ordered_json activations = {{"num_bits", 8},
                                    {"type", "int"},
                                    {"symmetric", true},
                                    {"strategy", dynamic ? "token" : "tensor"},
                                    {"group_size", nullptr},
                                    {"dynamic", dynamic}};
  ordered_json group = {{"targets", {"Linear"}},
                        {"weights", weights},
                        {"input_activations", recipe.activations == Activations::none ? ordered_json() : activations},
                        {"output_activations", nullptr}};
  // Without it readers take weights alone in 8 bits for packed ones; versions before that key know only packed ones.
  if (integers) group["format"] = "int-quantized";
  return {{"quant_method", "compressed-tensors"},
          {"format", integers ? "int-quantized" : "pack-quantized"},
          {"quantization_status", "compressed"},
          {"config_groups", {{"group_0", group}}},
          {"kv_cache_scheme", nullptr},
          {"ignore", {"lm_head"}}};
}

// Codes of one row, low bits first, the last word filled up with zeros.
void pack_row(const std::uint8_t* codes, std::uint32_t count, std::uint32_t bits, std::uint32_t* words) {
  const std::uint32_t lanes = 32 / bits;
  for (std::uint32_t k = 0; k < count; ++k) words[k / lanes] |= std::uint32_t{codes[k]} << (k % lanes * bits);
}

struct Scheme {
  std::uint32_t bits = 0;
  bool integers = false, symmetric = false;
  std::uint64_t words(std::uint64_t codes) const { return (codes * bits + 31) / 32; }
};

// Of static activations; "….weight" has it as "….input_scale".
std::string input_scale_name(const TensorRecord& tensor) {
  return tensor.name.substr(0, tensor.name.size() - std::string_view("weight").size()) + "input_scale";
}

void add_items(const TensorRecord& tensor, std::uint64_t groups, const Scheme& scheme,
               std::vector<SafetensorsWriter::Item>& items) {
  const std::uint64_t outputs = tensor.shape.at(0), inputs = tensor.shape.at(1);
  if (scheme.integers) {
    items.push_back({tensor.name, DType::i8, {outputs, inputs}});
    items.push_back({tensor.name + "_scale", DType::f16, {outputs, groups}});
    if (tensor.activations == Activations::fixed) items.push_back({input_scale_name(tensor), DType::f32, {1}});
    return;
  }
  items.push_back({tensor.name + "_packed", DType::i32, {outputs, scheme.words(inputs)}});
  items.push_back({tensor.name + "_scale", DType::f16, {outputs, groups}});
  items.push_back({tensor.name + "_shape", DType::i64, {2}});
  if (!scheme.symmetric) items.push_back({tensor.name + "_zero_point", DType::i32, {scheme.words(outputs), groups}});
}

// In the order of add_items.
void append_linear(const PackedLinear& linear, const TensorRecord& tensor, const Scheme& scheme, SafetensorsWriter& writer) {
  const std::size_t inputs = linear.inputs(), groups = linear.groups(), row_words = scheme.words(inputs);
  const std::uint32_t middle = 1u << (scheme.bits - 1), lanes = 32 / scheme.bits;
  std::vector<std::uint16_t> scales;
  std::vector<std::uint32_t> zeros(scheme.words(linear.outputs()) * groups);
  for (std::size_t index = 0; index < linear.tiles(); ++index) {
    const RowTile tile = linear.tile(index);
    if (scheme.integers) {
      Bytes signed_codes(tile.codes.size());
      std::transform(tile.codes.begin(), tile.codes.end(), signed_codes.begin(),
                     [](std::uint8_t code) { return static_cast<std::uint8_t>(code - 128); });
      writer.append(signed_codes);
    } else {
      std::vector<std::uint32_t> words(row_words * tile.rows);
      for (std::uint32_t row = 0; row < tile.rows; ++row)
        pack_row(tile.codes.data() + row * inputs, linear.inputs(), scheme.bits, words.data() + row * row_words);
      writer.append(bytes_of(words));
    }
    scales.insert(scales.end(), tile.scales.begin(), tile.scales.end());
    for (std::size_t i = 0; i < tile.zeros.size(); ++i) {
      const std::size_t row = tile.first_row + i / groups;
      if (scheme.symmetric && tile.zeros[i] != middle)
        throw Error(ErrorCode::corrupt, tensor.name + ": a symmetric grid with zero " + std::to_string(tile.zeros[i]));
      zeros[row / lanes * groups + i % groups] |= std::uint32_t{tile.zeros[i]} << (row % lanes * scheme.bits);
    }
  }
  writer.append(bytes_of(scales));
  if (tensor.activations == Activations::fixed)
    writer.append(bytes_of(std::vector<float>{static_cast<float>(tensor.activation_scale)}));
  if (scheme.integers) return;
  writer.append(bytes_of(std::vector<std::int64_t>{linear.outputs(), linear.inputs()}));
  if (!scheme.symmetric) writer.append(bytes_of(zeros));
}

}  // namespace

void write_compressed_tensors(const ArtifactStore& store, const Manifest& manifest, const fs::path& directory) {
  const QuantizeSpec& recipe = manifest.recipe;
  check_recipe(recipe);
  const bool integers = recipe.method == Method::int8;
  const Scheme scheme{recipe.bits, integers, integers || recipe.symmetric};
  std::vector<SafetensorsWriter::Item> items;
  for (const TensorRecord& tensor : manifest.tensors) {
    check_tensor_record(tensor);
    if (tensor.layout == TensorLayout::raw) {
      items.push_back({tensor.name, tensor.dtype, tensor.shape});
      continue;
    }
    if (tensor.layout != TensorLayout::packed || tensor.bits != recipe.bits || tensor.group_size != recipe.group_size ||
        !tensor.name.ends_with(".weight"))
      throw Error(ErrorCode::corrupt, tensor.name + ": not as the artifact's recipe says");
    const PackedLinear linear(store, tensor);
    check_linear(linear, tensor);
    add_items(tensor, linear.groups(), scheme, items);
  }
  write_carried_files(store, manifest, directory, [&](ordered_json& config) {
    config["quantization_config"] = quantization_config(recipe, integers, scheme.symmetric);
  });
  SafetensorsWriter writer(directory / "model.safetensors", items, {{"format", "pt"}});
  for (const TensorRecord& tensor : manifest.tensors) {
    if (tensor.layout == TensorLayout::packed) {
      append_linear(PackedLinear(store, tensor), tensor, scheme, writer);
    } else {
      for (const ChunkRef& chunk : tensor.chunks) writer.append(checked_chunk(store, chunk));
    }
  }
  writer.finish();
}

}  // namespace quench::coordinator
