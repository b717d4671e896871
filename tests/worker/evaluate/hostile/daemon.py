# expect: passed
# The next program must find neither the daemon nor its file.
import os
import time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            try:
                open("/tmp/still-here", "w").close()
            except OSError:
                pass
            time.sleep(0.001)
    os._exit(0)
os.wait()

def double(x):
    return x + x
