# expect: failed
def double(x):
    raise SystemExit(0)
