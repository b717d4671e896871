# expect: passed
# Right, and its thread ends with its process.
import threading

def spin():
    while True:
        pass

threading.Thread(target=spin).start()

def double(x):
    return x + x
