// Gangs by Open MPI's mpirun: on this machine, on hosts that ssh reaches, or on the nodes of a Slurm job that has no
// PMIx. A gang of one too, so that there is one path.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cluster/launch/launcher.h"
#include "cluster/net/socket.h"

namespace quench::cluster {

// Start gangs from a thread that lives as long as they do: the kernel ends them with the thread
// that started them. `mpirun` empty: looked for in PATH at each start.
std::unique_ptr<Launcher> make_local_launcher(Loop& loop, std::filesystem::path mpirun = {});

struct MpirunOptions {
  std::filesystem::path mpirun;    // empty: looked for in PATH at each start
  std::vector<std::string> hosts;  // "HOST" or "HOST:RANKS", started by ssh (or OMPI_MCA_plm_rsh_agent); empty: here
  bool in_allocation = false;      // mpirun reads SLURM_* for its hosts
  std::filesystem::path folder;    // for the secret, where other hosts see it
};
std::unique_ptr<Launcher> make_mpirun_launcher(Loop& loop, MpirunOptions options);

}  // namespace quench::cluster
