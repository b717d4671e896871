# expect: failed
import os
os.closerange(0, 256)

def double(x):
    return x + x
