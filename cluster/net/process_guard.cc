#include "cluster/net/process_guard.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "schemas/error.h"

namespace quench::cluster {

void die_with_parent(int signal, pid_t parent) {
  if (parent == 0) parent = ::getppid();
  if (::prctl(PR_SET_PDEATHSIG, signal) != 0)
    throw errno_error(ErrorCode::internal, "prctl(PR_SET_PDEATHSIG)", errno);
  // The parent may have ended before the line above; then no signal will come.
  if (::getppid() == parent) return;
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace quench::cluster
