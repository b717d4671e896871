# expect: timed_out
sum(range(10 ** 13))
