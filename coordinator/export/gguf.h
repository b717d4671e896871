// GGUF version 3, as llama.cpp reads it: one file, model.gguf, little endian, data aligned to 32 bytes, dimensions
// reversed. Llama, Qwen2 and StarCoder2; of Llama, rows of q and k are reordered for its rotary embedding. Norms and
// biases are F32, embedding and head F16, linears by kind (gguf_blocks.h). The tokenizer goes in as gguf_tokenizer.h says.
//
// llama.cpp knows no window for StarCoder2, so the file's context ends where the window would begin to matter.
#pragma once

#include <filesystem>

#include "coordinator/export/gguf_blocks.h"
#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

// Writes model.gguf into `directory`, which exists; holds one linear at a time. Throws Error(bad_input) naming the
// tensor when a grid is not exact in `kind`, or saying what the tokenizer does that llama.cpp does not.
void write_gguf(const ArtifactStore& store, const Manifest& manifest, GgufKind kind, const std::filesystem::path& directory);

}  // namespace quench::coordinator
