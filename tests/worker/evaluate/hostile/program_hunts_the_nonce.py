# expect: failed
# form: program
import gc
import os
import re
import sys

found = set()

def look(value, depth=0):
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        if re.fullmatch("[0-9a-f]{32}", value):
            found.add(value)
    elif depth < 4:
        for part in gc.get_referents(value):
            look(part, depth + 1)

frame = sys._getframe()
while frame is not None:
    look([frame, frame.f_locals, frame.f_globals], 0)
    frame = frame.f_back
for thing in gc.get_objects():
    look(thing, 3)
for nonce in found:
    os.write(4, nonce.encode())
os._exit(0)
