# expect: passed
# under landlock: failed
# Cleaning removes the links, not what they name.
import os
os.symlink("/usr", "/tmp/usr")
os.symlink("/dev/shm", "/tmp/shm")
os.symlink("/proc/1/root", "/tmp/root")
os.mkdir("/tmp/folder")
os.symlink("/usr/lib", "/tmp/folder/lib")

def double(x):
    return x + x
