# expect: passed
import os
import resource
import ctypes
libc = ctypes.CDLL(None)
for change in (
    lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
    lambda: os.setpriority(os.PRIO_USER, 0, 19),
    lambda: os.sched_setaffinity(1, {0}),
    lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0)),
    lambda: resource.prlimit(1, resource.RLIMIT_CPU, (1, 1)),
):
    try:
        change()
    except OSError:
        continue
    os._exit(1)

def double(x):
    return x + x
