# expect: sandbox_violation
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(250, 0, -3, 1)

def double(x):
    return x + x
