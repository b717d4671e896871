// The small files that stand beside an export's weights.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

// Throws Error(failed) naming the file when it cannot be written whole.
void write_file(const std::filesystem::path& path, std::string_view text);

// config.json, edited, and the tokenizer's and generation's files as they are. Throws Error(corrupt) when the artifact
// carries no config.json, or a name that is not a plain file's.
void write_carried_files(const ArtifactStore& store, const Manifest& manifest, const std::filesystem::path& directory,
                         const std::function<void(nlohmann::ordered_json& config)>& edit_config);

// The text of a carried file; empty when the artifact carries none of that name.
std::string carried_text(const ArtifactStore& store, const Manifest& manifest, std::string_view name);

}  // namespace quench::coordinator
