#include "coordinator/export/aqlm.h"

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

// One tile's codes [rows][groups][codebooks] in the format's integers, and its rows' scales.
void append_codes(const Bytes& chunk, const AdditiveTileShape& shape, Bytes& codes, Bytes& scales) {
  const std::size_t count = std::size_t{shape.groups()} * shape.codebooks;
  for (std::uint32_t row = 0; row < shape.rows; ++row) {
    const std::uint32_t panel = row / kPanelRows, lane = row % kPanelRows;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t bit = (panel * count + i) * 16 * shape.bits + std::size_t{lane} * shape.bits;
      std::uint32_t code = 0;
      for (std::uint32_t b = 0; b < shape.bits; ++b)
        code |= static_cast<std::uint32_t>(chunk[(bit + b) / 8] >> ((bit + b) % 8) & 1) << b;
      codes.push_back(static_cast<std::uint8_t>(code));
      if (shape.bits > 8) codes.push_back(static_cast<std::uint8_t>(code >> 8));
    }
    const std::uint8_t* const scale = chunk.data() + shape.code_bytes() + 2 * row;
    scales.insert(scales.end(), scale, scale + 2);
  }
}

}  // namespace

void write_aqlm(const ArtifactStore& store, const Manifest& manifest, const fs::path& directory) {
  const QuantizeSpec& recipe = manifest.recipe;
  if (recipe.method != Method::aqlm)
    throw Error(ErrorCode::bad_input, "the artifact is not made of codebook entries (method " + std::string(to_string(recipe.method)) +
                                          "), which is what AQLM's format holds: choose --format gptq or fp16");
  std::vector<SafetensorsWriter::Item> items;
  ordered_json left = ordered_json::array();
  for (const TensorRecord& tensor : manifest.tensors) {
    check_tensor_record(tensor);
    if (tensor.layout == TensorLayout::raw) {
      items.push_back({tensor.name, tensor.dtype, tensor.shape});
      left.push_back(tensor.name);
      continue;
    }
    const std::uint64_t n = tensor.shape.at(0), k = tensor.shape.at(1), group = static_cast<std::uint64_t>(tensor.group_size);
    const std::string stem = stem_of(tensor.name);
    items.push_back({stem + ".codebooks", DType::f16, {tensor.codebooks, std::uint64_t{1} << tensor.bits, 1, group}});
    items.push_back({stem + ".codes", tensor.bits > 8 ? DType::i16 : DType::i8, {n, k / group, tensor.codebooks}});
    items.push_back({stem + ".scales", DType::f16, {n, 1, 1, 1}});
  }
  // Readers replace every linear that is not named here, by its weight's name or, in transformers 5, by its own; a tied
  // head has no tensor of its own.
  if (std::find(left.begin(), left.end(), "lm_head.weight") == left.end()) left.push_back("lm_head.weight");
  left.push_back("lm_head");
  write_carried_files(store, manifest, directory, [&](ordered_json& config) {
    config["quantization_config"] = {{"quant_method", "aqlm"},
                                     {"nbits_per_codebook", recipe.codebook_bits},
                                     {"num_codebooks", recipe.codebooks},
                                     {"in_group_size", recipe.group_size},
                                     {"out_group_size", 1},
                                     {"linear_weights_not_to_quantize", left}};
  });
  SafetensorsWriter writer(directory / "model.safetensors", items, {{"format", "pt"}});
  for (const TensorRecord& tensor : manifest.tensors) {
    writer.append(checked_chunk(store, tensor.chunks.at(0)));
    if (tensor.layout == TensorLayout::raw) {
      for (std::size_t i = 1; i < tensor.chunks.size(); ++i) writer.append(checked_chunk(store, tensor.chunks[i]));
      continue;
    }
    Bytes codes, scales;
    for (std::size_t i = 1; i < tensor.chunks.size(); ++i) {
      const auto first = static_cast<std::uint32_t>((i - 1) * tensor.rows_per_tile);
      const AdditiveTileShape shape{std::min(tensor.rows_per_tile, static_cast<std::uint32_t>(tensor.shape.at(0)) - first),
                                    static_cast<std::uint32_t>(tensor.shape.at(1)), tensor.codebooks, tensor.bits,
                                    static_cast<std::uint32_t>(tensor.group_size)};
      const Bytes chunk = checked_chunk(store, tensor.chunks[i]);
      if (chunk.size() != shape.bytes())
        throw Error(ErrorCode::corrupt, tensor.name + ": a chunk of " + std::to_string(chunk.size()) + " bytes where its shape takes " +
                                            std::to_string(shape.bytes()));
      append_codes(chunk, shape, codes, scales);
    }
    writer.append(codes);
    writer.append(scales);
  }
  writer.finish();
}

}  // namespace quench::coordinator
