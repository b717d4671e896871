// Artifacts in the formats of other tools. A directory is written beside its name and renamed into
// place, so that a reader sees all of it or nothing.
#pragma once

#include <filesystem>
#include <string>

#include "coordinator/store/artifact_store.h"

namespace quench::coordinator {

// "gptq, fp16, …": what export_artifact takes as `format`.
std::string export_format_names();

// Writes the weights, config.json, the tokenizer's files and a model card. Throws Error(bad_input) for an unknown
// format, an artifact it cannot express (naming the rule, the tensor where it is one's, and a format that can) or a
// target that exists; Error(failed) when the disk is full.
void export_artifact(const ArtifactStore& store, const std::string& ref, const std::string& format,
                     const std::filesystem::path& to);

}  // namespace quench::coordinator
