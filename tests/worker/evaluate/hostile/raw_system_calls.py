# expect: sandbox_violation
# Past every wrapper of the standard library: kexec_load by its number.
import ctypes

ctypes.CDLL(None).syscall(246, 0, 0, 0, 0)

def double(x):
    return x + x
