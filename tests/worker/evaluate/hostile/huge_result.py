# expect: failed
def double(x):
    return "x" * (20 << 20)
