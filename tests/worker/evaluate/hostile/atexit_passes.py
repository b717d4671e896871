# expect: failed
import atexit
import os
atexit.register(lambda: os.write(4, b"passed"))

def double(x):
    return None
