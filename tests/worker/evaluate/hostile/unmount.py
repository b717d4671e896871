# expect: sandbox_violation
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.umount2(b"/proc", 2)

def double(x):
    return x + x
