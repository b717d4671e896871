# expect: sandbox_violation
import ctypes
import os
import time
if os.fork() == 0:
    if os.fork() == 0:
        ctypes.CDLL(None).unshare(0x10000000)
    os._exit(0)
os.wait()
time.sleep(0.2)

def double(x):
    return x + x
