# expect: failed
line = input()

def double(x):
    return x + x
