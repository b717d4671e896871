// Who this process is to others: its build and its backend.
#pragma once

#include <memory>
#include <string>

#include "kernels/backend.h"
#include "schemas/messages.h"

namespace quench::worker {

// The build's identity, the same as the coordinator's of one build.
std::string build_name();
// `name` empty: the environment's QUENCH_BACKEND, or the best of the CPU's; a GPU ("cuda", "cuda-exact") is used only
// when it is asked for. Throws Error(bad_input) for one that is unknown or cannot run here, saying why or naming
// those that can.
std::unique_ptr<kernels::Backend> make_backend(int threads, const std::string& name);
// This rank's GPU among those it sees: its place among the ranks of its host, as the launcher says, modulo their
// number; 0 without a launcher.
int gpu_of_rank();
Hello describe_self(const std::string& backend, PeerRole role);

}  // namespace quench::worker
