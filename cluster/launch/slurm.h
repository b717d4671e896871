// Gangs in Slurm's queue: one batch job for each, submitted from a template that the site can edit, watched with
// scontrol, ended with scancel. What a job runs lies in a folder that its nodes share and is written anew for each
// attempt, so a job that Slurm puts back into the queue (preemption, a lost node) serves the next attempt; one that met
// its time limit, which Slurm does not put back, is followed by a new one.
#pragma once

#include <filesystem>
#include <memory>

#include "cluster/launch/launcher.h"
#include "cluster/launch/slurm_template.h"
#include "cluster/net/socket.h"

namespace quench::cluster {

// `folder` must be seen by all nodes under this path. Jobs that a killed coordinator left there are cancelled.
// Destroying the launcher cancels what it has submitted. Throws Error(bad_input) when sbatch is not found.
std::unique_ptr<Launcher> make_slurm_launcher(Loop& loop, SlurmTemplate script, std::filesystem::path folder);

}  // namespace quench::cluster
