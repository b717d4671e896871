// The part of `quench artifacts` that must not run at the store's owner: making keys and signing, because a private key
// stays with whoever calls, and restoring, because there is no store yet.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace quench::coordinator {

// Runs `key new`, `sign` or `restore` and returns the exit code; nothing for any other command. Throws Error.
std::optional<int> run_key_command(const std::filesystem::path& store, const std::vector<std::string>& words);

}  // namespace quench::coordinator
