#include "coordinator/export/plain.h"

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "coordinator/export/carried_files.h"
#include "coordinator/export/float_formats.h"
#include "coordinator/export/linear_tiles.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f64;
}

float element(DType dtype, const std::uint8_t* bytes) {
  if (dtype == DType::f32) {
    float value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
  }
  if (dtype == DType::f64) {
    double value;
    std::memcpy(&value, bytes, sizeof value);
    return static_cast<float>(value);
  }
  const auto bits = static_cast<std::uint16_t>(bytes[0] | bytes[1] << 8);
  return dtype == DType::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}

void append_rounded(std::span<const float> values, DType to, const std::string& tensor, SafetensorsWriter& writer) {
  Bytes bytes(values.size() * 2);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t bits = to == DType::f16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
    if (std::isfinite(values[i]) && !std::isfinite(to == DType::f16 ? f16_to_f32(bits) : bf16_to_f32(bits)))
      throw Error(ErrorCode::bad_input, tensor + " holds " + std::to_string(values[i]) + ", which is too large for " +
                                            (to == DType::f16 ? "fp16: choose --format bf16" : "bf16: choose --format gptq"));
    bytes[2 * i] = static_cast<std::uint8_t>(bits);
    bytes[2 * i + 1] = static_cast<std::uint8_t>(bits >> 8);
  }
  writer.append(bytes);
}

void append_raw(const ArtifactStore& store, const TensorRecord& tensor, DType to, SafetensorsWriter& writer) {
  std::vector<float> values;
  for (const ChunkRef& chunk : tensor.chunks) {
    const Bytes bytes = checked_chunk(store, chunk);
    if (!is_float(tensor.dtype) || tensor.dtype == to) {
      writer.append(bytes);
      continue;
    }
    const std::uint32_t width = dtype_bytes(tensor.dtype);
    values.resize(bytes.size() / width);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = element(tensor.dtype, bytes.data() + i * width);
    append_rounded(values, to, tensor.name, writer);
  }
}

}  // namespace

void write_plain(const ArtifactStore& store, const Manifest& manifest, DType to, const fs::path& directory) {
  QUENCH_CHECK(to == DType::f16 || to == DType::bf16);
  write_carried_files(store, manifest, directory, [&](nlohmann::ordered_json& config) {
    // transformers 4 and 5 call it by different keys; a file that has both must not contradict itself.
    const char* const name = to == DType::f16 ? "float16" : "bfloat16";
    if (config.contains("dtype")) config["dtype"] = name;
    if (config.contains("torch_dtype") || !config.contains("dtype")) config["torch_dtype"] = name;
    config.erase("quantization_config");
  });
  std::vector<SafetensorsWriter::Item> items;
  for (const TensorRecord& tensor : manifest.tensors) {
    check_tensor_record(tensor);
    const bool rounded = tensor.layout != TensorLayout::raw || is_float(tensor.dtype);
    items.push_back({tensor.name, rounded ? to : tensor.dtype, tensor.shape});
  }
  SafetensorsWriter writer(directory / "model.safetensors", items, {{"format", "pt"}});
  for (const TensorRecord& tensor : manifest.tensors) {
    if (tensor.layout == TensorLayout::raw) {
      append_raw(store, tensor, to, writer);
    } else {
      visit_weights(store, tensor, [&](std::span<const float> weights) { append_rounded(weights, to, tensor.name, writer); });
    }
  }
  writer.finish();
}

}  // namespace quench::coordinator
