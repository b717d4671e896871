// The AQLM authors' format (aqlm, vLLM, transformers): codes int8 or int16 [N, K/group, codebooks], wrapped to signed;
// codebooks fp16 [codebooks, 2^bits, 1, group]; scales fp16 [N, 1, 1, 1].
#pragma once

#include <filesystem>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

// Writes model.safetensors, config.json with its quantization_config and the files that the artifact carries. Throws
// Error(bad_input) when the artifact is not of method aqlm.
void write_aqlm(const ArtifactStore& store, const Manifest& manifest, const std::filesystem::path& directory);

}  // namespace quench::coordinator
