// `quench serve`: the daemon (coordinator/daemon.h) with its configuration and its HTTP interface.
#pragma once

#include <filesystem>

#include "schemas/service_api.h"

namespace quench::coordinator {

// Throws Error(bad_input) naming every mistake of the file, and what does not fit together in it. Relative paths lie
// in the file's directory.
ServeConfig read_serve_config(const std::filesystem::path& file);

// Serves until a signal; the exit code.
int serve(const std::filesystem::path& config_file);

}  // namespace quench::coordinator
