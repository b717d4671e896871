# expect: passed
# Nothing of /sys is there, and what /proc shows of the kernel cannot be set.
import os

assert not os.path.exists("/sys/kernel")
for path in ("/sys/fs/cgroup/cgroup.procs", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches", "/proc/1/attr/current",
             "/proc/1/clear_refs", "/proc/self/oom_score_adj", "/proc/1/timerslack_ns", "/proc/1/coredump_filter"):
    for mode in ("wb", "r+b"):
        try:
            with open(path, mode, buffering=0) as file:
                file.write(b"-1000" if "oom" in path else b"1")
        except OSError:
            continue
        if "/1/" in path or "/sys" in path or "oom" in path:
            os._exit(1)

def double(x):
    return x + x
