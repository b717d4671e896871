# expect: failed
# The process limit counts threads too: the 33rd cannot start.
import threading
import time
while True:
    threading.Thread(target=time.sleep, args=(60,)).start()

def double(x):
    return x + x
