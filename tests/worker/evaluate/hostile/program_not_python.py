# expect: compile_error
# form: program
assert (
