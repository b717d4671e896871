// Gangs on the nodes of the Slurm job that we run in, by srun. Ranks get PMIx from Slurm.
#pragma once

#include <filesystem>
#include <memory>

#include "cluster/launch/launcher.h"
#include "cluster/launch/slurm_words.h"
#include "cluster/net/socket.h"

namespace quench::cluster {

// `folder` holds the secret, where all nodes see it. Where srun has no PMIx, mpirun starts the ranks.
std::unique_ptr<Launcher> make_allocation_launcher(Loop& loop, SlurmAllocation allocation,
                                                   std::filesystem::path folder);

}  // namespace quench::cluster
