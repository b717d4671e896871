# expect: passed
# Ends badly when any of these can be read.
import os
for path in ("/etc/passwd", "/etc/hostname", "/root", "/home", "/var", "/run", "/mnt", "/sys/kernel", "/boot", "/opt",
             "/usr/local", "/proc/1/root", "/proc/1/cwd", "/proc/1/environ", "/proc/1/maps", "/proc/kcore"):
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1)
    except OSError:
        continue
    os._exit(1)

def double(x):
    return x + x
