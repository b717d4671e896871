# expect: failed
import os

def double(x):
    os.write(3, b"\xff\xff\xff\xff" + bytes(1 << 16))
    return x + x
