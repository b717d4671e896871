# expect: passed
# PID 1 of a namespace cannot be killed from inside.
import os
import signal
for target in (os.getppid(), 1, -1):
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGSTOP, signal.SIGCHLD):
        try:
            os.kill(target, number)
        except OSError:
            pass

def double(x):
    return x + x
