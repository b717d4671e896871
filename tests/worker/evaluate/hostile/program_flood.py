# expect: output_limit
# form: program
while True:
    print("x" * 65536)
