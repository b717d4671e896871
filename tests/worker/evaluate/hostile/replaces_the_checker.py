# expect: failed
import sys
import types

class Nothing(types.ModuleType):
    def __getattr__(self, name):
        return lambda *args, **kwargs: True

for name in list(sys.modules):
    if name not in ("sys", "builtins"):
        sys.modules[name] = Nothing(name)

def check(candidate):
    pass

def double(x):
    return None
