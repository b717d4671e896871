// What a batch job's tasks run, in the gang's folder, which all nodes see: a fixed script `rank` that waits for the
// file `command` and becomes what that says. Each attempt writes `command` anew.
#pragma once

#include <filesystem>
#include <string>

#include "cluster/launch/launcher.h"

namespace quench::cluster {

// Mode 0600, written beside and renamed: a reader sees the old file or the whole new one. Throws Error(failed).
void write_private_file(const std::filesystem::path& file, const std::string& text);
// Secret, `rank` and `command`. `gang` becomes QUENCH_GANG.
void write_gang_command(const std::filesystem::path& folder, const GangCommand& command, const std::string& gang);
// A task that begins from now on waits for the next command.
void remove_gang_command(const std::filesystem::path& folder);
// The words that run `rank`, for a shell.
std::string gang_script_command(const std::filesystem::path& folder);

}  // namespace quench::cluster
