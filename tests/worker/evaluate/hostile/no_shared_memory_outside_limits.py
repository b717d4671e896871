# expect: passed
# Memory that no limit of ours would count.
import ctypes
import mmap
import os
libc = ctypes.CDLL(None, use_errno=True)
if libc.memfd_create(b"x", 0) >= 0 or libc.shmget(0, 1 << 30, 0o1600) >= 0 or libc.mq_open(b"/x", 0o102, 0o600, None) >= 0:
    os._exit(1)


def is_had(call, *arguments):
    try:
        call(*arguments)
    except OSError:
        return False
    return True


# Shared, it stays when all but its first page is unmapped.
if is_had(mmap.mmap, -1, 1 << 20) or is_had(os.open, "/dev/zero", os.O_RDWR):
    os._exit(1)
if not is_had(mmap.mmap, -1, 1 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS):
    os._exit(2)

def double(x):
    return x + x
