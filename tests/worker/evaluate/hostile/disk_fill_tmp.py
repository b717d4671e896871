# expect: failed
# The file system is full at its bound; the host does not notice.
number = 0
while True:
    with open(f"/tmp/{number}", "wb") as file:
        for _ in range(32):
            file.write(bytes(1 << 20))
    number += 1

def double(x):
    return x + x
