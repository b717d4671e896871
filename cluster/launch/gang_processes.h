// Finding every process of a gang, whoever its parent is by now: the launcher puts QUENCH_GANG=<name> into
// the environment, which children inherit and the kernel shows in /proc/PID/environ.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace quench::cluster {

// The living (not zombie) processes whose environment holds `variable`=`value`; ours excluded.
std::vector<pid_t> processes_marked(const std::string& variable, const std::string& value);
// Sends SIGKILL to them until none is left or half a second has passed; how many are left.
std::size_t kill_processes_marked(const std::string& variable, const std::string& value);

}  // namespace quench::cluster
