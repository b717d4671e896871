# expect: failed
text = open("/etc/shadow").read()

def double(x):
    return x + x
