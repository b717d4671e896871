// Segments over MPI_Isend and MPI_Irecv, polled so that the core is free while a rank waits.
#pragma once

#include <atomic>
#include <memory>

#include "cluster/collective/peer_transport.h"

namespace quench::cluster {

// On a duplicate of MPI_COMM_WORLD, so collective over the gang. Sets `broken` when an operation threw:
// its requests still refer to the caller's buffers, so MPI must not be entered again but to abort.
std::unique_ptr<PeerTransport> make_mpi_transport(const CollectiveOptions& options,
                                                  std::shared_ptr<std::atomic<bool>> broken);

}  // namespace quench::cluster
