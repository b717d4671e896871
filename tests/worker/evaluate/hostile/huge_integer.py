# expect: timed_out
# One call in C that no signal handler interrupts.
base = 3
x = base ** (10 ** 8)
