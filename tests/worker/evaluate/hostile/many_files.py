# expect: passed
# under landlock: failed
# Too many to clean: the next program gets a new sandbox.
for i in range(5000):
    open(f"/tmp/{i}", "w").close()

def double(x):
    return x + x
