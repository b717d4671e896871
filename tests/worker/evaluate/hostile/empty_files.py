# expect: out_of_memory
# under landlock: failed
# Files without a byte: the kernel's memory for them is 1 KiB each, and no limit on bytes sees it.
import os
import time
os.close(os.open("/tmp/first", os.O_CREAT))
for process in range(10):
    if os.fork() == 0:
        for file in range(15000):
            os.close(os.open(f"/tmp/{process}.{file}", os.O_CREAT))
        time.sleep(60)
time.sleep(60)
