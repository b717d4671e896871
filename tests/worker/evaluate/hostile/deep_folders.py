# expect: passed
# under landlock: failed
# Deeper than a path can name.
import os
os.chdir("/tmp")
for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")

def double(x):
    return x + x
