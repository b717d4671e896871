# expect: passed
# Memory that no limit of ours would count.
import ctypes
import os
libc = ctypes.CDLL(None, use_errno=True)
if libc.memfd_create(b"x", 0) >= 0 or libc.shmget(0, 1 << 30, 0o1600) >= 0 or libc.mq_open(b"/x", 0o102, 0o600, None) >= 0:
    os._exit(1)

def double(x):
    return x + x
