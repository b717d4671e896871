// A process that must not outlive the one that started it.
#pragma once

#include <sys/types.h>

namespace quench::cluster {

// Asks the kernel to send `signal` to this process when the thread that started it ends (SIGKILL for
// ranks: no handler can delay it). `parent` is the parent's process id as the starter gave it, or 0
// for "whoever it is now". If that parent is already gone, ends this process with the signal. Call it
// first thing in main: the setting does not survive a change of user or a set-user-id program.
void die_with_parent(int signal, pid_t parent = 0);

}  // namespace quench::cluster
