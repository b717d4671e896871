// MPI's life in this process: initialised once by the thread that will talk MPI, finalised by the same.
// One per process.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cluster/collective/collective.h"

namespace quench::cluster {

class MpiSession {
 public:
  // MPI_Init_thread (funneled); errors are returned, not fatal. Throws Error(failed) with the call's text
  // and MPI's words.
  MpiSession();
  // MPI_Finalize; when an exception is on its way or a collective broke, the gang is aborted instead,
  // because finalising would wait for ranks that do not come.
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  std::uint32_t rank() const { return rank_; }
  std::uint32_t world() const { return world_; }
  std::string library_version() const;

  // Over all ranks, on a communicator of its own; the session outlives it. Collective over the gang.
  std::unique_ptr<Collective> make_collective(const CollectiveOptions& options);

  // Ends this process at once without finalising MPI, on which mpirun ends the other ranks and exits
  // with `code` (not 0). Any thread may do the same by std::_Exit.
  [[noreturn]] void abort(int code);

 private:
  std::uint32_t rank_ = 0;
  std::uint32_t world_ = 1;
  int exceptions_at_start_ = 0;
  // Set by collectives that threw.
  std::shared_ptr<std::atomic<bool>> broken_;  // owners: the session and its collectives
};

}  // namespace quench::cluster
