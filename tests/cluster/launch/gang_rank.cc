// A rank for the launcher's tests: joins MPI, tells its process id, and ends in the way it is told.
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "cluster/collective/mpi_session.h"
#include "cluster/net/process_guard.h"

namespace quench::cluster {
namespace {

[[noreturn]] void wait_for_signal() {
  for (;;) ::pause();
}

int run(const std::string& how) {
  die_with_parent(SIGKILL);
  MpiSession session;
  const auto gang = session.make_collective({.progress_ms_max = 20'000});
  const char* const secret_file = std::getenv("QUENCH_GANG_SECRET_FILE");
  std::ifstream secret(secret_file == nullptr ? "" : secret_file);
  const std::string word(std::istreambuf_iterator<char>(secret), {});
  const char* const given = std::getenv("GIVEN");
  std::cout << "pid " + std::to_string(::getpid()) + " rank " + std::to_string(gang->rank()) + " of " +
                   std::to_string(gang->world()) + " secret " + word + " given " +
                   (given == nullptr ? "-" : given) + "\n"
            << std::flush;
  gang->barrier("started");
  const bool mine = gang->rank() + 1 == gang->world();
  if (how == "work") {
    std::vector<std::int64_t> one{1};
    gang->all_reduce_sum(one, "count");
    return one[0] == gang->world() ? 0 : 1;
  }
  if (how == "fail") {
    if (mine) session.abort(7);
    wait_for_signal();
  }
  if (how == "killed" && mine) std::raise(SIGKILL);
  if (how == "stopped" && mine) std::raise(SIGSTOP);
  if (how == "deaf") {
    std::signal(SIGTERM, SIG_IGN);
    // A grandchild that no parent-death signal reaches.
    if (mine && ::fork() == 0) {
      ::prctl(PR_SET_PDEATHSIG, 0);
      ::setsid();
      std::cout << "pid " + std::to_string(::getpid()) + " grandchild\n" << std::flush;
      wait_for_signal();
    }
  }
  wait_for_signal();
}

}  // namespace
}  // namespace quench::cluster

int main(int argc, char** argv) {
  try {
    return quench::cluster::run(argc > 1 ? argv[1] : "work");
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
