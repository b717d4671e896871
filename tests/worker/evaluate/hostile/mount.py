# expect: sandbox_violation
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)

def double(x):
    return x + x
