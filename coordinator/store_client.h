// The other side of quench.sock: a command asking the process that holds the store.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "schemas/messages.h"

namespace quench::coordinator {

// The socket of the process that holds the store at `directory`, when there is one that answers.
std::optional<std::string> owner_endpoint(const std::filesystem::path& directory);
// Throws Error(unreachable) when the owner is gone, or what the owner refused with.
StoreReply ask_owner(const std::string& endpoint, const StoreCommand& command);

}  // namespace quench::coordinator
