// Which launcher a coordinator uses, as the command line or a configuration names it. The one place that knows them
// all: everyone else holds a Launcher.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/launch/launcher.h"
#include "cluster/net/socket.h"

namespace quench::cluster {

enum class LauncherKind {
  automatic,  // "auto": the Slurm allocation that we run in, by srun; local outside of one
  local,      // "local": mpirun, here or on `hosts`
  slurm,      // "slurm": sbatch, one job for each gang
};

// Throws Error(bad_input) naming the text and the three names.
LauncherKind parse_launcher_kind(std::string_view text);

struct LauncherSettings {
  LauncherKind kind = LauncherKind::automatic;
  std::filesystem::path slurm_template;  // slurm only; empty: the built-in one
  std::vector<std::string> hosts;        // local only: "HOST" or "HOST:RANKS", reached by ssh
  // For secrets and scripts of gangs on other hosts, which must see it under this path.
  std::filesystem::path folder;
};

// Reads and checks what the settings name without starting anything: call it early, for errors before a job is
// accepted. Throws Error(bad_input).
void check_launcher(const LauncherSettings& settings);
// Throws what check_launcher throws, and Error(bad_input) when a program is missing.
std::unique_ptr<Launcher> make_launcher(Loop& loop, const LauncherSettings& settings);

}  // namespace quench::cluster
