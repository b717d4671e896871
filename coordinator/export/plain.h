// A plain model: every weight in fp16 or bf16, in one safetensors file, as transformers and everything built on it
// reads. Any artifact can be written so; what a quantized linear lost stays lost.
#pragma once

#include <filesystem>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

// `to` is DType::f16 or DType::bf16. Writes model.safetensors and the files that the artifact carries into `directory`,
// which exists; holds one row tile at a time. Throws Error(bad_input) naming the tensor when a weight is too large for
// `to`.
void write_plain(const ArtifactStore& store, const Manifest& manifest, DType to, const std::filesystem::path& directory);

}  // namespace quench::coordinator
