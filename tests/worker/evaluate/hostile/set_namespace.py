# expect: sandbox_violation
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
import os
libc.setns(os.open("/dev/null", os.O_RDONLY), 0)

def double(x):
    return x + x
