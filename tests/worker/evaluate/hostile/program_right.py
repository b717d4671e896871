# expect: passed
# form: program
assert 1 + 1 == 2
