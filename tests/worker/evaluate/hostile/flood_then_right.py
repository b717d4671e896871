# expect: output_limit
import sys

def double(x):
    sys.stdout.write("x" * (1 << 22))
    return x + x
