#include "coordinator/export/plain.h"

#include <nlohmann/json.hpp>

#include "coordinator/export/carried_files.h"
#include "coordinator/export/linear_tiles.h"
#include "schemas/error.h"

namespace quench::coordinator {

namespace fs = std::filesystem;

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
    items.push_back({tensor.name, holds_weights(tensor) ? to : tensor.dtype, tensor.shape});
  }
  SafetensorsWriter writer(directory / "model.safetensors", items, {{"format", "pt"}});
  for (const TensorRecord& tensor : manifest.tensors) {
    if (holds_weights(tensor)) {
      visit_weights(store, tensor, [&](std::span<const float> weights) { writer.append(rounded(weights, to, tensor.name)); });
    } else {
      for (const ChunkRef& chunk : tensor.chunks) writer.append(checked_chunk(store, chunk));
    }
  }
  writer.finish();
}

}  // namespace quench::coordinator
