# expect: failed
import socket
socket.getaddrinfo("example.org", 80)

def double(x):
    return x + x
