# expect: failed
# form: program
import os
for fd in range(1, 16):
    try:
        os.write(fd, b"passed")
    except OSError:
        pass
assert False
