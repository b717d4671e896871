// Starts a zygote where a host forbids namespaces: Landlock for files, TCP, signals and abstract sockets, seccomp
// for everything else, limits as ever. Weaker than bubblewrap, so only where it is allowed, and verdicts say so.
//
// Three domains inside one another: a supervisor of ours, the zygote, and for each program one more, which the zygote
// enters in the fork. A signal goes inwards only, so a program reaches neither of the two, and kill(-1) in the
// zygote reaches every process of the program and no other of the host. The supervisor does the same when the zygote
// ends, whatever ended it. Needs Landlock ABI 6 (Linux 6.12), the first that holds signals.
#pragma once

#include "worker/evaluate/sandbox/bubblewrap.h"

namespace quench::worker {

constexpr int kLandlockAbiMin = 6;

// The kernel's Landlock ABI; 0 without Landlock.
int landlock_abi();

// Throws Error(bad_input) when this kernel cannot, Error(failed) when the process cannot be started; whether the
// sandbox works is seen on its control socket (Zygote).
SandboxProcess start_landlocked(const SandboxHost& host, const SandboxLimits& limits,
                                const SandboxProgram& program);

}  // namespace quench::worker
