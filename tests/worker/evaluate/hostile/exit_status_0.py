# expect: failed
import os
os._exit(0)

def double(x):
    return x + x
