# expect: compile_error
def double(x)
    return x + x
