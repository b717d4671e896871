// A gang of one: no MPI, no waiting.
#pragma once

#include <memory>

#include "cluster/collective/collective.h"

namespace quench::cluster {

std::unique_ptr<Collective> make_local_collective();

}  // namespace quench::cluster
