# expect: passed
# Neither PID 1 nor a program is dumpable.
import os
for path in ("/proc/1/mem", "/proc/self/mem", "/proc/1/fd", "/proc/1/fdinfo", "/proc/1/task/1/mem", "/proc/1/stack"):
    try:
        os.listdir(path) if path.endswith(("fd", "fdinfo")) else open(path, "r+b").read(1)
    except OSError:
        continue
    os._exit(1)

def double(x):
    return x + x
