# expect: timed_out
# form: program
while True:
    pass
