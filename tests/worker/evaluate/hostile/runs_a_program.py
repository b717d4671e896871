# expect: passed
# Harmless: a program may start others, within its limits.
import subprocess
assert subprocess.run(["/usr/bin/python3", "-c", "print(1 + 1)"], capture_output=True).stdout == b"2\n"

def double(x):
    return x + x
