// The compressed-tensors format (llm-compressor, vLLM, transformers). N outputs, K inputs, b bits, G groups.
//
//   pack-quantized, 4 and 8 bits: weight_packed int32 [N, ceil(K·b/32)] along K, low bits first, the code as it is;
//   weight_scale fp16 [N, G]; weight_shape int64 [2]; asymmetric: weight_zero_point int32 [ceil(N·b/32), G] along N,
//   the zero as it is. Both are signed numbers plus 2^(b-1) to the format's readers, which is what ours are, too.
//   int-quantized, for the method int8: weight int8 [N, K], the code minus 128; weight_scale fp16 [N, 1].
//
// Other widths are left out: their packing changed between versions of the library.
#pragma once

#include <filesystem>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

// Writes model.safetensors, config.json with its quantization_config and the files that the artifact carries into
// `directory`, which exists; holds one row tile, and one linear's scales and zeros, at a time. Throws Error(bad_input)
// naming the tensor when the format cannot hold it.
void write_compressed_tensors(const ArtifactStore& store, const Manifest& manifest, const std::filesystem::path& directory);

}  // namespace quench::coordinator
