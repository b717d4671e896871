// The system calls that a program in the sandbox may make: an allow-list. What no answer has a use for
// but an attack has (ptrace, mounts, namespaces, io_uring, bpf, keys, other processes' memory) ends the
// process with SIGSYS, which is the verdict sandbox_violation; the rest gets EPERM.
#pragma once

#include "schemas/artifact.h"
#include "worker/evaluate/sandbox/owned_fd.h"

namespace quench::worker {

// The compiled filter in a memory file, at its beginning, as bwrap --seccomp wants it.
// Throws Error(bad_input) when libseccomp does not know this machine's system calls.
// Without namespaces it allows less: no sockets but connected pairs, no change of modes and times.
OwnedFd seccomp_filter(Confinement confinement);

}  // namespace quench::worker
