# expect: failed
def double(x):
    return "x" * (100 << 20)
