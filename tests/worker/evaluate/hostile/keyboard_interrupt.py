# expect: failed
def double(x):
    raise KeyboardInterrupt
