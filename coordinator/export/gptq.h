// The GPTQ checkpoint format (AutoGPTQ, GPTQModel, vLLM, transformers): K inputs, N outputs, b bits, G
// groups. qweight int32 [K·b/32, N] packed along K, qzeros int32 [G, N·b/32] packed along N, scales fp16
// [G, N], g_idx int32 [K]; low bits first, 3 bits without padding. Zeros are stored minus one
// (checkpoint_format gptq) for symmetric grids, as they are (gptq_v2) for asymmetric ones, where a
// zero of 0 would borrow from its neighbour.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

// `count` codes of `bits` (2, 3, 4, 8) bits side by side, low bits first, into whole 32-bit words. `count`
// × bits is a multiple of 32.
std::vector<std::uint32_t> pack_bits(std::span<const std::uint32_t> codes, std::uint32_t bits);

// Writes model.safetensors, config.json with its quantization_config, quantize_config.json and the files
// that the artifact carries into `directory`, which exists. Throws Error(bad_input) naming the tensor
// when the format cannot hold it.
void write_gptq(const ArtifactStore& store, const Manifest& manifest, const std::filesystem::path& directory);

}  // namespace quench::coordinator
