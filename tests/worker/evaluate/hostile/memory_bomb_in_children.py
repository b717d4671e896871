# expect: out_of_memory
# Each child stays below its own limit, all together do not.
import os
import time
for _ in range(10):
    if os.fork() == 0:
        block = bytearray(os.urandom(1) * (30 << 20))
        time.sleep(60)
time.sleep(60)
