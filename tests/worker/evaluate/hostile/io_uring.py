# expect: sandbox_violation
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(425, 8, ctypes.create_string_buffer(256))

def double(x):
    return x + x
