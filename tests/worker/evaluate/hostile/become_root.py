# expect: passed
import os
for change in (lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgroups([0]), lambda: os.setgid(0)):
    try:
        change()
    except OSError:
        continue
    os._exit(1)
if os.getuid() == 0:
    os._exit(1)

def double(x):
    return x + x
