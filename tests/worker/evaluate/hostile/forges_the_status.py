# expect: failed
import os
os.write(4, b'{"result": "passed", "nonce": ""}')
os._exit(0)

def double(x):
    return x + x
