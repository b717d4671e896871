// `quench artifacts push --to URL` and `pull --from URL`: between a store of this file system and a service's.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace quench::coordinator {

// Whether a --to or --from names a service rather than a directory.
bool is_service(const std::string& place);
// Runs a push or pull whose other end is a service and returns the exit code; nothing for any other command. Where a service
// holds the near store too, it is asked like the far one. Throws Error.
std::optional<int> run_network_transfer(const std::filesystem::path& store, const std::vector<std::string>& words);

}  // namespace quench::coordinator
