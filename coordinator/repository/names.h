// Changing names. Every change stays in the name's history, so each can be undone as long as the weights are there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/store/artifact_store.h"

namespace quench::coordinator {

// Points `name` at what `ref` means. `expected`: a digest that the name must mean now, "none", or empty for whatever it
// means. Throws Error(bad_input); each of these returns what it did, in words.
std::string tag_artifact(ArtifactStore& store, const std::string& ref, const std::string& name, const std::string& expected,
                         std::uint64_t now_ms);
// All of them, or none.
std::string end_names(ArtifactStore& store, const std::vector<std::string>& names, std::uint64_t now_ms);
// Gives `name` back what it meant `steps` changes ago, as a new change.
std::string undo_name(ArtifactStore& store, const std::string& name, std::size_t steps, std::uint64_t now_ms);

}  // namespace quench::coordinator
