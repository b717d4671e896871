// The README.md of an export: what the weights are, what they were made from, how they scored, under which licence.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

// Writes README.md, and the licence's text where the source directory has one, into `directory`. Scores are those of
// this store's complete evaluations. The licence is known where a job of this store quantized the artifact's source and
// the source's directory still holds the same small files: its LICENSE and the `license:` of its README.md.
void write_model_card(const ArtifactStore& store, const Digest& artifact, const Manifest& manifest, std::string_view format,
                      const std::filesystem::path& directory);

// The value of `key` in the YAML block at the top of a model card; empty where it is not there or not one plain word.
std::string front_matter_word(std::string_view card, std::string_view key);

}  // namespace quench::coordinator
