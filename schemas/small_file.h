// Reads a file that should be small, such as a job or a config.json.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace quench {

// The file's bytes. Throws Error(bad_input) naming it when it is missing, unreadable, no regular file, or
// larger than `bytes_max`.
std::string read_small_file(const std::filesystem::path& file, std::size_t bytes_max);

}  // namespace quench
