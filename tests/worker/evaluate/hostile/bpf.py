# expect: sandbox_violation
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(321, 0, ctypes.create_string_buffer(256), 120)

def double(x):
    return x + x
