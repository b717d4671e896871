# expect: passed
# under landlock: failed
import os
os.mkdir("/tmp/locked")
open("/tmp/locked/file", "w").close()
os.chmod("/tmp/locked", 0)
os.chmod("/tmp", 0)
os.chmod("/dev/shm", 0o500)

def double(x):
    return x + x
