# expect: failed
# What `assert` compiles to takes AssertionError from the tests' process, not from this one.
import builtins
import sys

class Silent(Exception):
    def __new__(cls, *args):
        raise SystemExit(0)

builtins.AssertionError = Silent
sys.excepthook = lambda *args: sys.exit(0)
sys.flags = type("Flags", (), {"optimize": 2})()

def double(x):
    return None
