// `quench artifacts …`: the commands on a store. They run where the store is open: in this process, or
// in the one that holds it, to which the arguments travel through STORE/quench.sock.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "coordinator/store/artifact_store.h"
#include "coordinator/transfer.h"
#include "schemas/messages.h"

namespace quench::coordinator {

// Arguments after `artifacts`: {"ls"}, {"show", REF}, {"verify"}, {"export", REF, "--format", "gptq",
// "--to", DIR}, each with "--json" where that makes sense. Paths are absolute. Errors become the
// reply's exit code and text.
StoreReply answer_store_command(ArtifactStore& store, const StoreCommand& command);

// Opens the store, or asks its owner.
StoreReply run_store_command(const std::filesystem::path& store, const StoreCommand& command);

// What a push or pull did.
std::string transferred_text(const Transferred& done, bool json);

// The same, and prints the reply. Returns its exit code.
int run_artifacts(const std::filesystem::path& store, std::vector<std::string> arguments);

}  // namespace quench::coordinator
