# expect: passed
# under landlock: failed
# Swaps a folder for a link to one outside while the sandbox clears up.
import os

outside = "/usr/lib"
os.makedirs("/tmp/swap/inner", exist_ok=True)
for number in range(50):
    open(f"/tmp/swap/inner/{number}", "w").close()
if os.fork() == 0:
    os.setsid()
    while True:
        try:
            os.rename("/tmp/swap", "/tmp/kept")
            os.symlink(outside, "/tmp/swap")
            os.unlink("/tmp/swap")
            os.rename("/tmp/kept", "/tmp/swap")
        except OSError:
            os._exit(0)

def double(x):
    return x + x
