# expect: passed
# No tmpfs without a bound can be written.
import os
for folder in ("/dev", "/", "/quench", "/proc"):
    try:
        open(folder + "/mine", "wb")
    except OSError:
        continue
    raise SystemExit("could write to " + folder)

def double(x):
    return x + x
