# expect: failed
import os
import struct

def double(x):
    text = b'{"v": ' + b'["l", ' * 100000 + b"1" + b"]" * 100000 + b"}"
    os.write(3, struct.pack("<I", len(text)) + text)
    return x + x
