# expect: failed
# form: program
assert 1 + 1 == 3
