# expect: passed
import ctypes
import os
libc = ctypes.CDLL(None)
if libc.prctl(4, 1, 0, 0, 0) == 0 or libc.prctl(4, 1 + (1 << 32), 0, 0, 0) == 0 or libc.prctl(3, 0, 0, 0, 0) != 0:
    os._exit(1)

def double(x):
    return x + x
