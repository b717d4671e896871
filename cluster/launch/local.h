// Gangs on this machine, by Open MPI's mpirun; a gang of one too, so that there is one path.
#pragma once

#include <filesystem>
#include <memory>

#include "cluster/launch/launcher.h"
#include "cluster/net/socket.h"

namespace quench::cluster {

// Start gangs from a thread that lives as long as they do: the kernel ends them with the thread
// that started them. `mpirun` empty: looked for in PATH at each start.
std::unique_ptr<Launcher> make_local_launcher(Loop& loop, std::filesystem::path mpirun = {});

}  // namespace quench::cluster
