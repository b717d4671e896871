// A file in a rank's scratch directory: whole or not there, for it gets its name when all is written. Not synced: what a machine
// loses is made again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <string>

namespace quench::worker {

// The parts one behind the other. Throws Error(failed), "`what` cannot be written to PATH: …".
void write_scratch_file(const std::filesystem::path& path, std::initializer_list<std::span<const std::uint8_t>> parts,
                        const std::string& what);

}  // namespace quench::worker
