// A gang inside one process: threads as ranks, exchanging segments through mailboxes. The same
// algorithms as over MPI run on it, so a pipeline can be tested at several ranks without mpirun.
#pragma once

#include <cstdint>
#include <functional>

#include "cluster/collective/collective.h"

namespace quench::cluster {

// Runs `body` on `world` threads, each with its own Collective. When one throws, the others' waits end
// with an Error too; the first Error thrown leaves run_thread_gang once all threads have ended.
void run_thread_gang(std::uint32_t world, const CollectiveOptions& options,
                     const std::function<void(Collective&)>& body);

}  // namespace quench::cluster
