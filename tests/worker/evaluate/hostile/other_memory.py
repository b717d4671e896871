# expect: sandbox_violation
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.process_vm_readv(1, None, 0, None, 0, 0)

def double(x):
    return x + x
