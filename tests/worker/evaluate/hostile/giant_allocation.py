# expect: out_of_memory
block = bytearray(10 ** 13)
