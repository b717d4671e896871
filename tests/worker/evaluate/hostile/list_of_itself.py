# expect: failed
def double(x):
    loop = []
    loop.append(loop)
    return loop
