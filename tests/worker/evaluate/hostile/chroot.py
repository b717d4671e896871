# expect: sandbox_violation
import os
os.chroot("/tmp")

def double(x):
    return x + x
