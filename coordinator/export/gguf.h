// GGUF version 3, as llama.cpp reads it: one file, model.gguf, little endian, data aligned to 32 bytes, dimensions
// reversed, rows of q and k reordered for its rotary embedding. Norms are F32, embedding and head F16, linears by kind:
//
//   F16   any artifact, dequantized and rounded
//   Q8_0  32 weights: fp16 scale, 32 int8            a packed artifact whose grids it holds exactly
//   Q4_0  32 weights: fp16 scale, 32 codes minus 8   the same
//
// The tokenizer goes in as llama.cpp's "gpt-2", which is GPT-2's byte-level BPE; other tokenizers are refused.
#pragma once

#include <filesystem>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

enum class GgufKind : std::uint32_t { f16 = 1, q4_0 = 2, q8_0 = 8 };  // the format's numbers

// Writes model.gguf into `directory`, which exists; holds one linear at a time. Throws Error(bad_input) naming the
// tensor when a grid is not exact in `kind`, or the tokenizer is another.
void write_gguf(const ArtifactStore& store, const Manifest& manifest, GgufKind kind, const std::filesystem::path& directory);

}  // namespace quench::coordinator
