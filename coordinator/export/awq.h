// AWQ's GEMM format (AutoAWQ, vLLM, transformers), 4 bits: qweight int32 [K, N/8], qzeros int32 [G, N/8], scales fp16 [G, N];
// zeros as they are.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

// Lane i of word c is output 8 c + kAwqLanes[i].
inline constexpr std::array<std::uint32_t, 8> kAwqLanes = {0, 2, 4, 6, 1, 3, 5, 7};

// Writes model.safetensors, config.json with its quantization_config and the files that the artifact carries. Throws
// Error(bad_input) naming the rule when the format cannot hold the artifact.
void write_awq(const ArtifactStore& store, const Manifest& manifest, const std::filesystem::path& directory);

}  // namespace quench::coordinator
