# expect: passed
# It holds copies of all descriptors, so no end of file comes.
import os
import time
if os.fork() == 0:
    os.setsid()
    time.sleep(60)

def double(x):
    return x + x
