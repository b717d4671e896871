// Segments over NCCL: the same algorithms as over MPI (peer_collective.h), so NCCL moves bytes and never adds. One rank
// per GPU.
#pragma once

#include <functional>
#include <memory>

#include "cluster/collective/nccl_link.h"
#include "cluster/collective/peer_transport.h"

namespace quench::cluster {

// Waits for the link's communicator under the deadline of `options`. Every segment carries which operation it belongs to.
// A wait that is too long or that the AbortFlag ends aborts the communicator before it throws.
std::unique_ptr<PeerTransport> make_nccl_transport(std::unique_ptr<NcclLink> link, const CollectiveOptions& options);

// A gang over NCCL beside `control` (over MPI), which must outlive it and carries the ids. Collective over the gang.
// `device` is this rank's GPU.
std::unique_ptr<Collective> make_nccl_collective(Collective& control, int device, const CollectiveOptions& options);

}  // namespace quench::cluster
