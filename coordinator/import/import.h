// Models that were quantized elsewhere, into the store (README.md).
#pragma once

#include <filesystem>
#include <string>

#include "coordinator/store/artifact_store.h"

namespace quench::coordinator {

struct ImportedModel {
  Digest digest;
  std::string format;          // "gptq", "awq", …, "none"
  std::uint64_t linears = 0;   // of the blocks
  std::uint64_t left = 0;      // of them not quantized
};

// Publishes the model in `directory` as `name`. `method` says what found its codes where the format does not: "", "rtn", "gptq"
// or "awq". Throws Error(bad_input) naming the file, the tensor and the rule that it breaks, or a name that is taken by
// another artifact; nothing is published then.
ImportedModel import_model(ArtifactStore& store, const std::filesystem::path& directory, const std::string& name, const std::string& method);

}  // namespace quench::coordinator
