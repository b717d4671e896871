#include "coordinator/export/awq.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "coordinator/export/carried_files.h"
#include "coordinator/export/whole_linear.h"
#include "schemas/error.h"
#include "schemas/packed_layout.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorCode::bad_input, what + ": choose --format gptq or fp16"); }

void check(const ArtifactStore& store, const Manifest& manifest) {
  const QuantizeSpec& recipe = manifest.recipe;
  if (recipe.method == Method::none) refuse("the artifact is not quantized (method none), so there is nothing to pack");
  if (recipe.method == Method::aqlm) refuse("the artifact is made of codebook entries (method aqlm), which AWQ's format cannot hold");
  if (recipe.budget_gib > 0) refuse("the artifact has bits and group size chosen for each linear, which AWQ's format cannot say");
  if (recipe.bits != 4) refuse("the artifact has codes of " + std::to_string(recipe.bits) + " bits; AWQ's format has 4");
  for (const TensorRecord& tensor : manifest.tensors) {
    check_tensor_record(tensor);
    if (tensor.layout == TensorLayout::raw) continue;
    const PackedLinear linear(store, tensor);
    if (!linear.groups_in_order())
      refuse(tensor.name + " has its columns grouped in another order (actOrder), for which AWQ's format has no g_idx");
    if (linear.outputs() % 8 != 0 || (tensor.group_size > 0 && linear.inputs() % static_cast<std::uint32_t>(tensor.group_size) != 0))
      refuse(tensor.name + " has " + std::to_string(linear.outputs()) + " outputs and " + std::to_string(linear.inputs()) +
             " inputs; AWQ's format wants outputs in eights and whole groups");
  }
}

// [rows][outputs] in words of eight outputs.
std::vector<std::uint32_t> words_of(const std::vector<std::uint8_t>& values, std::size_t outputs) {
  std::vector<std::uint32_t> words(values.size() / 8);
  for (std::size_t w = 0; w < words.size(); ++w) {
    const std::size_t first = w / (outputs / 8) * outputs + w % (outputs / 8) * 8;
    for (std::size_t lane = 0; lane < 8; ++lane) words[w] |= std::uint32_t{values[first + kAwqLanes[lane]]} << (4 * lane);
  }
  return words;
}

}  // namespace

void write_awq(const ArtifactStore& store, const Manifest& manifest, const fs::path& directory) {
  check(store, manifest);
  write_carried_files(store, manifest, directory, [&](ordered_json& config) {
    config["quantization_config"] = {{"quant_method", "awq"},     {"zero_point", true},
                                     {"group_size", manifest.recipe.group_size},
                                     {"bits", 4},                 {"version", "gemm"},
                                     {"modules_to_not_convert", nullptr}};
  });
  std::vector<SafetensorsWriter::Item> items;
  for (const TensorRecord& tensor : manifest.tensors) {
    if (tensor.layout == TensorLayout::raw) {
      items.push_back({tensor.name, tensor.dtype, tensor.shape});
      continue;
    }
    const std::uint64_t n = tensor.shape.at(0), k = tensor.shape.at(1);
    const std::uint64_t groups = PackedTileShape{1, static_cast<std::uint32_t>(k), tensor.bits, tensor.group_size}.groups();
    const std::string stem = stem_of(tensor.name);
    items.push_back({stem + ".qweight", DType::i32, {k, n / 8}});
    items.push_back({stem + ".qzeros", DType::i32, {groups, n / 8}});
    items.push_back({stem + ".scales", DType::f16, {groups, n}});
  }
  SafetensorsWriter writer(directory / "model.safetensors", items, {{"format", "pt"}});
  for (const TensorRecord& tensor : manifest.tensors) {
    if (tensor.layout == TensorLayout::raw) {
      for (const ChunkRef& chunk : tensor.chunks) writer.append(checked_chunk(store, chunk));
      continue;
    }
    const GridsOfLinear linear = whole_linear(store, tensor);
    writer.append(bytes_of(words_of(linear.codes, linear.outputs)));
    writer.append(bytes_of(words_of(linear.zeros, linear.outputs)));
    writer.append(bytes_of(linear.scales));
  }
  writer.finish();
}

}  // namespace quench::coordinator
