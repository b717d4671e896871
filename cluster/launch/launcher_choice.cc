#include "cluster/launch/launcher_choice.h"

#include <optional>

#include "cluster/launch/allocation.h"
#include "cluster/launch/local.h"
#include "cluster/launch/slurm.h"
#include "cluster/launch/slurm_template.h"
#include "cluster/launch/slurm_words.h"
#include "schemas/error.h"

namespace quench::cluster {
namespace {

SlurmTemplate read_template(const LauncherSettings& settings) {
  return settings.slurm_template.empty() ? SlurmTemplate::built_in() : SlurmTemplate::read(settings.slurm_template);
}

// mpirun would take a comma for the next host and "host:x" for a name.
void check_host(const std::string& host) {
  const std::size_t colon = host.find(':');
  const bool counted = colon != std::string::npos;
  const std::string count = counted ? host.substr(colon + 1) : "1";
  if (colon == 0 || host.empty() || host.front() == '-' || host.find_first_of(", \t\n") != std::string::npos ||
      count.empty() || count.size() > 4 || count.find_first_not_of("0123456789") != std::string::npos)
    throw Error(ErrorCode::bad_input, "host \"" + host + "\": expected HOST or HOST:RANKS");
}

}  // namespace

LauncherKind parse_launcher_kind(std::string_view text) {
  if (text == "auto") return LauncherKind::automatic;
  if (text == "local") return LauncherKind::local;
  if (text == "slurm") return LauncherKind::slurm;
  throw Error(ErrorCode::bad_input, "launcher \"" + std::string(text) + "\": expected auto, local or slurm");
}

void check_launcher(const LauncherSettings& settings) {
  if (settings.kind == LauncherKind::slurm) read_template(settings);
  if (settings.kind != LauncherKind::slurm && !settings.slurm_template.empty())
    throw Error(ErrorCode::bad_input, "the Slurm template " + settings.slurm_template.string() +
                                          " is used by the launcher slurm only: choose that, or leave the template out");
  if (settings.kind == LauncherKind::slurm && !settings.hosts.empty())
    throw Error(ErrorCode::bad_input, "hosts are for the launcher local: Slurm chooses its own");
  for (const std::string& host : settings.hosts) check_host(host);
}

std::unique_ptr<Launcher> make_launcher(Loop& loop, const LauncherSettings& settings) {
  check_launcher(settings);
  if (settings.kind == LauncherKind::slurm) return make_slurm_launcher(loop, read_template(settings), settings.folder);
  if (settings.kind == LauncherKind::automatic && settings.hosts.empty())
    if (const std::optional<SlurmAllocation> allocation = slurm_allocation())
      return make_allocation_launcher(loop, *allocation, settings.folder);
  if (settings.hosts.empty()) return make_local_launcher(loop);
  return make_mpirun_launcher(loop, {.mpirun = {}, .hosts = settings.hosts, .in_allocation = false, .folder = settings.folder});
}

}  // namespace quench::cluster
