# expect: out_of_memory
# form: program
x = []
while True:
    x.append(bytearray(10 ** 7))
