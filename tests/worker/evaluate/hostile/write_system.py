# expect: passed
import os
for path in ("/usr/lib/x", "/usr/bin/python3", "/lib/x", "/bin/x", "/quench/zygote.py", "/etc/x", "/x",
             "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/1/oom_score_adj", "/proc/self/uid_map"):
    try:
        with open(path, "r+b" if os.path.exists(path) else "wb") as file:
            file.write(b"x")
    except OSError:
        continue
    os._exit(1)

def double(x):
    return x + x
