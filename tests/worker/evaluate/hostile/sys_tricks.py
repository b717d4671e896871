# expect: passed
# Nothing of /sys can be read, and what /proc shows of the kernel and of PID 1 cannot be set.
import os

for folder in ("/sys", "/sys/kernel", "/sys/fs/cgroup"):
    try:
        os.listdir(folder)
    except OSError:
        continue
    os._exit(1)
for path in ("/sys/fs/cgroup/cgroup.procs", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches", "/proc/1/attr/current",
             "/proc/1/clear_refs", "/proc/1/timerslack_ns", "/proc/1/coredump_filter"):
    for mode in ("wb", "r+b"):
        try:
            with open(path, mode, buffering=0) as file:
                file.write(b"1")
        except OSError:
            continue
        os._exit(1)

def double(x):
    return x + x
